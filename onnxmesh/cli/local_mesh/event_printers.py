"""How `onnxmesh up` tells what happens: in words, or as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any, Protocol, assert_never

import typer

from onnxmesh.supervisor.events import Event, ServiceComplained, ServiceDied, ServiceReady


class EventPrinter(Protocol):
    """Takes the events of a mesh, and what `up` itself does."""

    def record(self, event: Event) -> None:
        """Tells of something that happened to a service."""
        ...

    def tell(self, event: str, text: str, **figures: Any) -> None:
        """Tells of something that `up` did: `text` to people, `event` and `figures` to programs."""
        ...

    def complain(self, text: str) -> None:
        """Tells of something that went wrong and does not end the mesh."""
        ...


class TextPrinter:
    """Tells people: what they asked for on standard output, trouble on standard error."""

    def record(self, event: Event) -> None:
        """Tells of deaths, returns and complaints; a first start is told by the ready line."""
        match event:
            case ServiceReady(name, pid, address, again):
                if again:
                    typer.echo(f"{name} is back at {address} (pid {pid})", err=True)
            case ServiceDied(name, pid, cause, delay_s):
                typer.echo(f"{name} (pid {pid}) {cause}; starting it again in {delay_s:.1f} s", err=True)
            case ServiceComplained(name, level, text):
                typer.echo(f"{name}: {level}: {text}", err=True)
            case _:
                assert_never(event)

    def tell(self, event: str, text: str, **figures: Any) -> None:
        """Prints the text at once, even into a pipe."""
        _say(text)

    def complain(self, text: str) -> None:
        """Prints the text on standard error."""
        typer.echo(f"error: {text}", err=True)


class JsonPrinter:
    """Tells programs: one object a line on standard output, with its kind in `event`."""

    def record(self, event: Event) -> None:
        """Prints the event with its fields."""
        kinds = {
            ServiceReady: "service_ready",
            ServiceDied: "service_died",
            ServiceComplained: "service_complained",
        }
        self._print({"event": kinds[type(event)], **asdict(event)})

    def tell(self, event: str, text: str, **figures: Any) -> None:
        """Prints the event with its figures."""
        self._print({"event": event, **figures})

    def complain(self, text: str) -> None:
        """Prints an event of kind `error`."""
        self._print({"event": "error", "message": text})

    def _print(self, document: dict[str, Any]) -> None:
        _say(json.dumps(document))


def _say(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201 - output of a command
    except BrokenPipeError:
        # Whoever read it is gone; the mesh has to be run, and stopped, all the same.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends

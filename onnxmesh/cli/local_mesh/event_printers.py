"""Printers of the events of `onnxmesh up`: as text, or as JSON lines."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Any, Protocol, assert_never

import typer

from onnxmesh.cli.terminal.json_output import json_text
from onnxmesh.supervisor.events import ServiceDied, ServiceEvent, ServiceReady, ServiceWarned


class EventPrinter(Protocol):
    """Prints the events of services, and the steps of `onnxmesh up` itself."""

    def record(self, event: ServiceEvent) -> None:
        """Prints an event of a service."""
        ...

    def report(self, event: str, text: str, **fields: Any) -> None:
        """Prints a step of `up`: `text` for people, `event` with its `fields` for programs."""
        ...

    def report_error(self, text: str) -> None:
        """Prints an error that does not end the mesh."""
        ...


class TextPrinter:
    """Prints text: steps to standard output, restarts, warnings and errors to standard error."""

    def record(self, event: ServiceEvent) -> None:
        """Prints exits, restarts and warnings; a first start is part of the ready line."""
        match event:
            case ServiceReady(name, pid, address, again):
                if again:
                    typer.echo(f"{name} restarted at {address} (pid {pid})", err=True)
            case ServiceDied(name, pid, cause, delay_s):
                typer.echo(f"{name} (pid {pid}) {cause}; restarting in {delay_s:.1f} s", err=True)
            case ServiceWarned(name, level, text):
                typer.echo(f"{name}: {level}: {text}", err=True)
            case _:
                assert_never(event)

    def report(self, event: str, text: str, **fields: Any) -> None:
        """Prints the text and flushes, so that a pipe receives it at once."""
        _print_line(text)

    def report_error(self, text: str) -> None:
        """Prints the text to standard error."""
        typer.echo(f"error: {text}", err=True)


class JsonPrinter:
    """Prints one JSON object a line to standard output, with its kind in `event`."""

    def record(self, event: ServiceEvent) -> None:
        """Prints the event with its fields."""
        kinds = {
            ServiceReady: "service_ready",
            ServiceDied: "service_died",
            ServiceWarned: "service_complained",
        }
        self._print({"event": kinds[type(event)], **asdict(event)})

    def report(self, event: str, text: str, **fields: Any) -> None:
        """Prints the event with its fields."""
        self._print({"event": event, **fields})

    def report_error(self, text: str) -> None:
        """Prints an event of kind `error`."""
        self._print({"event": "error", "message": text})

    def _print(self, document: dict[str, Any]) -> None:
        _print_line(json_text(document))


def _print_line(line: str) -> None:
    try:
        print(line, flush=True)  # noqa: T201 - output of a command
    except BrokenPipeError:
        # The reader closed the pipe; the mesh must still run, and stop in order.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends

"""A program that is told, line by line, to run a load, and answers with a line of JSON each time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any


class DriverFailed(Exception):
    """A program that drives a load ended before its time."""


class Driver:
    """A program of this folder as a child, kept for many runs. A context manager: leaving it ends the child.

    Args:
        module: The program's module, as `benchmarks.load`.
        arguments: Its arguments.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module = module
        self._errors = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115 - closed with the child
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._listen()

    def __enter__(self) -> Driver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the child is no more."""
        return self._process.poll() is not None

    def run(self, in_flight: int, seconds: float, warm_up_s: float) -> dict[str, Any]:
        """Has it keep so many requests in flight for so long; returns what it saw.

        Raises:
            DriverFailed: It ended, for instance because an answer was wrong.
        """
        assert self._process.stdin is not None
        order = {"in_flight": in_flight, "seconds": seconds, "warm_up_s": warm_up_s}
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DriverFailed(self._last_words()) from None
        return self._listen()

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                stream.close()

    def _listen(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            words = self._last_words()
            self.close()
            raise DriverFailed(words)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"{self._module} ended: {lines[-1] if lines else 'it said nothing'}"


def obey(run: Callable[[int, float, float], dict[str, Any]], lines: Sequence[str] | None = None) -> None:
    """The program's side: says that it is ready, and runs whenever it is told to, until its input ends.

    Args:
        run: Takes requests in flight, seconds, and seconds of warm-up before; returns what it saw.
        lines: Orders; by default those of standard input.
    """
    _say({"ready": True})
    for line in sys.stdin if lines is None else lines:
        order = json.loads(line)
        _say(run(order["in_flight"], order["seconds"], order["warm_up_s"]))


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()

"""Load programs as child processes: one command a line in, one line of JSON out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any


class DriverFailed(Exception):
    """A load program ended early."""


class Driver:
    """A program of this folder as a child process, for many runs; a context manager that ends it.

    Args:
        module: The program's module, such as `benchmarks.load`.
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
        self._read_reply()

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
        """Whether the child has ended."""
        return self._process.poll() is not None

    def run(self, in_flight: int, seconds: float, warm_up_s: float) -> dict[str, Any]:
        """Keeps a number of requests in flight for some seconds; returns the measurements.

        Raises:
            DriverFailed: The child ended, for example because of a wrong output.
        """
        assert self._process.stdin is not None
        command = {"in_flight": in_flight, "seconds": seconds, "warm_up_s": warm_up_s}
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise DriverFailed(self._last_error_line()) from None
        return self._read_reply()

    def close(self) -> None:
        """Ends the child."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None and not stream.closed:
                stream.close()

    def _read_reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            words = self._last_error_line()
            self.close()
            raise DriverFailed(words)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_error_line(self) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"{self._module} ended: {lines[-1] if lines else 'without output'}"


def serve_runs(
    run: Callable[[int, float, float], dict[str, Any]], lines: Sequence[str] | None = None
) -> None:
    """The program's side: reports that it is ready, and runs each command until its input ends.

    Args:
        run: Called with requests in flight, seconds, and seconds of warm-up; returns the measurements.
        lines: The commands; by default those of standard input.
    """
    _write_line({"ready": True})
    for line in sys.stdin if lines is None else lines:
        command = json.loads(line)
        _write_line(run(command["in_flight"], command["seconds"], command["warm_up_s"]))


def _write_line(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()

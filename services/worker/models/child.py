"""A child process that is asked for one thing after another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

_TAIL_BYTES = 4096


class ChildDiedError(Exception):
    """The child ended in place of an answer.

    Attributes:
        how: In words.
        status: Its exit status; below 0, the signal that ended it.
        said: The end of what it wrote to standard error.
    """

    def __init__(self, status: int, said: str) -> None:
        self.how = _how(status)
        super().__init__(self.how)
        self.status = status
        self.said = said


class Child:
    """Lines of JSON to a process and back. It runs from the beginning and must be closed.

    Its standard input stays open for as long as it lives: that it ends tells the child that its parent is gone.

    Args:
        command: How it is started.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        # Not by the event loop: its fork, beside gRPC's threads, at times gave a child that crashed at once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said
        )

    async def ask(self, request: Any) -> Any:
        """Returns the answer; a call that is cancelled must be followed by `close`.

        Raises:
            ChildDiedError: There will be none.
        """
        line = await asyncio.to_thread(self._exchange, json.dumps(request).encode() + b"\n")
        if not line.endswith(b"\n"):
            status = await asyncio.to_thread(self._process.wait)
            raise ChildDiedError(status, self._tail())
        return json.loads(line)

    def close(self) -> None:
        """Ends the child, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _exchange(self, request: bytes) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(
            BrokenPipeError
        ):  # it died before it read: there is no answer to read either
            self._process.stdin.write(request)
            self._process.stdin.flush()
        return self._process.stdout.readline()

    def _tail(self) -> str:
        size = self._said.seek(0, 2)
        self._said.seek(max(0, size - _TAIL_BYTES))
        return self._said.read().decode(errors="replace")


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as it is when memory runs out"
    if status < 0:
        return f"its process ended with {signal.Signals(-status).name}"
    return f"its process ended with status {status}"

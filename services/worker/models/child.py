"""Child process that answers one request after another."""

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
    """The child ended without an answer.

    Attributes:
        how: How it ended, for messages.
        status: Its exit status; negative: the signal that ended it.
        stderr_tail: The end of what it wrote to standard error.
    """

    def __init__(self, status: int, stderr_tail: str) -> None:
        self.how = _how(status)
        super().__init__(self.how)
        self.status = status
        self.stderr_tail = stderr_tail


class Child:
    """Exchanges lines of JSON with a process, which starts at once and must be closed.

    Its standard input stays open for as long as it lives; end of file means that its parent has ended.

    Args:
        command: Starts the process.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        # Not by asyncio: its fork beside gRPC's threads made children that sometimes crashed at once.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr
        )

    async def request(self, request: Any) -> Any:
        """Sends a request and returns the answer; after a cancelled call the child must be closed.

        Raises:
            ChildDiedError: The child ended without an answer.
        """
        line = await asyncio.to_thread(self._exchange, json.dumps(request).encode() + b"\n")
        if not line.endswith(b"\n"):
            status = await asyncio.to_thread(self._process.wait)
            raise ChildDiedError(status, self._stderr_tail())
        return json.loads(line)

    def close(self) -> None:
        """Kills the child."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _exchange(self, request: bytes) -> bytes:
        assert self._process.stdin is not None and self._process.stdout is not None
        # A child that died before it read has no answer either.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(request)
            self._process.stdin.flush()
        return self._process.stdout.readline()

    def _stderr_tail(self) -> str:
        size = self._stderr.seek(0, 2)
        self._stderr.seek(max(0, size - _TAIL_BYTES))
        return self._stderr.read().decode(errors="replace")


def _how(status: int) -> str:
    if status == -signal.SIGKILL:
        return "its process was killed, as it is when memory runs out"
    if status < 0:
        return f"its process ended with {signal.Signals(-status).name}"
    return f"its process ended with status {status}"

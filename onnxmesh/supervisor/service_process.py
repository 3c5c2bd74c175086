"""Process of a supervised service, from its start to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import cast

from onnxmesh.supervisor.log_line import LogLine, parse_log_line

_STDOUT, _STDERR = 1, 2
_NUM_LAST_LINES = 20


class ServiceProcess(asyncio.SubprocessProtocol):
    """A child process: reads its ready line, writes its log file, and stops it.

    The process leads a process group of its own: a Ctrl-C in the terminal reaches the supervisor alone, and child
    processes that it leaves behind can be killed with it. Its standard input is a pipe that closes when the supervisor
    ends in any way.

    Args:
        log: File that its standard error is appended to, opened and closed here; None: it shares that of this process.
        on_line: Called with each line of the log.
    """

    def __init__(self, log: Path | None, on_line: Callable[[LogLine], None]) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[str] = loop.create_future()
        """The address in its ready line; cancelled if it ends before."""
        self.ended: asyncio.Future[int] = loop.create_future()
        """Its exit code, negative for a signal, once its pipes are closed."""
        self.last_lines: deque[LogLine] = deque(maxlen=_NUM_LAST_LINES)
        self._log_path = log
        self._log: FileIO | None = None
        self._on_line = on_line
        self._partial = {_STDOUT: b"", _STDERR: b""}
        self._transport: asyncio.SubprocessTransport | None = None

    async def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Starts the process; returns before it is ready.

        Args:
            command: The program and its arguments.
            environment: Its environment variables; None: those of this process.

        Raises:
            OSError: It cannot be started.
        """
        if self._log_path is not None:
            self._log = self._log_path.open("ab", buffering=0)
        loop = asyncio.get_running_loop()
        try:
            await loop.subprocess_exec(
                lambda: self,
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=None if self._log is None else PIPE,
                start_new_session=True,
                env=environment,
            )
        except OSError:
            if self._log is not None:
                self._log.close()
            raise

    @property
    def pid(self) -> int:
        """The process's id; 0 before it was started."""
        return self._transport.get_pid() if self._transport is not None else 0

    async def stop(self, grace_s: float) -> None:
        """Sends SIGTERM, and kills the process if it still runs after `grace_s` seconds."""
        if self._transport is None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await asyncio.shield(self.ended)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self.ended)

    def kill(self) -> None:
        """Kills the process and its child processes."""
        if self._transport is not None and not self.ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The process has started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """The process wrote to standard output or error."""
        if fd == _STDERR and self._log is not None:
            self._log.write(data)
        *lines, self._partial[fd] = (self._partial[fd] + data).split(b"\n")
        for line in lines:
            self._line(fd, line.decode(errors="replace"))

    def process_exited(self) -> None:
        """The process has ended; its child processes are killed, so that its pipes close."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def connection_lost(self, exc: Exception | None) -> None:
        """The process has ended and its pipes are closed."""
        for fd, rest in self._partial.items():
            if rest:
                self._line(fd, rest.decode(errors="replace"))
        if self._log is not None:
            self._log.close()
        code = None
        if self._transport is not None:
            code = self._transport.get_returncode()
            self._transport.close()
        self.ready.cancel()
        self.ended.set_result(-1 if code is None else code)

    def _line(self, fd: int, text: str) -> None:
        if fd == _STDOUT:
            match text.split():
                case ["ready", _, address] if not self.ready.done():
                    self.ready.set_result(address)
            return
        line = parse_log_line(text)
        if line.text:
            self.last_lines.append(line)
            self._on_line(line)

    def _signal(self, number: signal.Signals) -> None:
        if self._transport is not None and not self.ended.done():
            with suppress(ProcessLookupError):
                self._transport.send_signal(number)


def cause_of_end(exit_code: int) -> str:
    """Returns how a process ended, in words."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"

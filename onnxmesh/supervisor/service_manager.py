"""Keeps one service running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import Unavailable
from onnxmesh.supervisor.events import Journal, ServiceComplained, ServiceDied, ServiceReady
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_process import ServiceProcess, cause_of_end
from onnxmesh.telemetry.log_line import LogLine

GRACE_S = 4.0
"""Seconds that a service has to end by itself, where nothing else is said."""

CommandAt = Callable[[str], Sequence[str]]
"""Returns the command that starts the service at an address, HOST:PORT; port 0 means any."""


class ServiceManager:
    """Starts a service, and starts it again at the same address whenever it dies.

    Args:
        name: Name of the service.
        listen: HOST:PORT of the first start; later ones take the port that this one got.
        command_at: Makes the command for an address.
        log: File of its log; None: it logs where this process does.
        journal: Is told what happens.
        policy: When to start it again.
        clock: Times its deaths.
        environment: Its environment variables; None: those of this process.
        grace_s: Seconds that it has to end by itself.
    """

    def __init__(
        self,
        name: str,
        listen: str,
        command_at: CommandAt,
        log: Path | None,
        journal: Journal,
        *,
        policy: RestartPolicy | None = None,
        clock: Clock = monotonic,
        environment: Mapping[str, str] | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self.name = name
        self._listen = listen
        self._command_at = command_at
        self._log = log
        self._journal = journal
        self._policy = policy or RestartPolicy()
        self._clock = clock
        self._environment = environment
        self._grace_s = grace_s
        self._process: ServiceProcess | None = None
        self._first_ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopping = False

    async def ready(self) -> str:
        """Waits until the service is ready for the first time; returns its address."""
        return await asyncio.shield(self._first_ready)

    async def keep(self) -> None:
        """Runs the service until it is cancelled, which ends it within `grace_s`.

        Raises:
            Unavailable: The service never became ready, or died too often.
        """
        while True:
            process = ServiceProcess(self._log, self._on_line)
            try:
                exit_code = await self._run(process)
            finally:
                self._stopping = True
                await process.stop(self._grace_s)
            self._stopping = False
            cause = cause_of_end(exit_code)
            if not self._first_ready.done():
                raise Unavailable(f"{self.name} {cause} before it was ready{_last_words(process)}")
            delay_s = self._policy.delay_after_death(self._clock())
            if delay_s is None:
                raise Unavailable(
                    f"{self.name} {cause}, death number {self._policy.max_deaths} within "
                    f"{self._policy.window_s:.0f} s: giving up{_last_words(process)}"
                )
            self._journal.record(ServiceDied(self.name, process.pid, cause, delay_s))
            await asyncio.sleep(delay_s)

    def kill(self) -> None:
        """Ends the service by force, at once."""
        if self._process is not None:
            self._process.kill()

    async def _run(self, process: ServiceProcess) -> int:
        self._process = process
        try:
            await process.start(self._command_at(self._listen), self._environment)
        except OSError as error:
            raise Unavailable(f"{self.name} cannot be started: {error.strerror}") from error
        await asyncio.wait((process.ready, process.ended), return_when=asyncio.FIRST_COMPLETED)
        if process.ready.done() and not process.ready.cancelled():
            again = self._first_ready.done()
            self._listen = process.ready.result()
            self._journal.record(ServiceReady(self.name, process.pid, self._listen, again))
            if not again:
                self._first_ready.set_result(self._listen)
        return await asyncio.shield(process.ended)

    def _on_line(self, line: LogLine) -> None:
        if line.loud and not self._stopping:
            self._journal.record(ServiceComplained(self.name, line.level, line.text))


def _last_words(process: ServiceProcess) -> str:
    """The line that says best why a process ended: the last loud one, or the last of all."""
    lines = [line for line in process.last_lines if line.loud] or list(process.last_lines)
    return f": {lines[-1].text}" if lines else ""

"""Manager of one supervised service: starts its process, and restarts it when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import Unavailable
from onnxmesh.supervisor.events import EventSink, ServiceDied, ServiceReady, ServiceWarned
from onnxmesh.supervisor.log_line import LogLine
from onnxmesh.supervisor.restart_policy import RestartPolicy
from onnxmesh.supervisor.service_process import ServiceProcess, cause_of_end

SERVICE_GRACE_S = 4.0
"""Default time that a service has to end after SIGTERM."""

CommandAt = Callable[[str], Sequence[str]]
"""Returns the command that starts the service at an address, HOST:PORT; port 0 means any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """How a service is started and stopped.

    Attributes:
        name: Name of the service, such as `worker-0`.
        listen: HOST:PORT of the first start; restarts use the port that it got.
        command_at: Returns the command for an address.
        log: File of its log; None: it logs to the standard error of this process.
        environment: Its environment variables; None: those of this process.
        grace_s: Seconds that it has to end after SIGTERM.
    """

    name: str
    listen: str
    command_at: CommandAt
    log: Path | None = None
    environment: Mapping[str, str] | None = None
    grace_s: float = SERVICE_GRACE_S


class ServiceManager:
    """Runs a service, and restarts it at the same address whenever it dies.

    Args:
        spec: The service.
        sink: Receives its events.
        policy: When to restart it.
        clock: Times its deaths.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        sink: EventSink,
        *,
        policy: RestartPolicy | None = None,
        clock: Clock = monotonic,
    ) -> None:
        self._spec = spec
        self._listen = spec.listen
        self._sink = sink
        self._policy = policy or RestartPolicy()
        self._clock = clock
        self._process: ServiceProcess | None = None
        self._first_ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stopping = False

    @property
    def name(self) -> str:
        """Name of the service."""
        return self._spec.name

    async def ready(self) -> str:
        """Waits until the service is ready for the first time; returns its address."""
        return await asyncio.shield(self._first_ready)

    async def run(self) -> None:
        """Runs the service until this is cancelled, which ends the service within its grace time.

        Raises:
            Unavailable: The service never became ready, or died too often (UNAVAILABLE).
        """
        while True:
            process = ServiceProcess(self._spec.log, self._on_line)
            try:
                exit_code = await self._run_once(process)
            finally:
                self._stopping = True
                await process.stop(self._spec.grace_s)
            self._stopping = False
            cause = cause_of_end(exit_code)
            if not self._first_ready.done():
                raise Unavailable(f"{self.name} {cause} before it was ready{_last_line(process)}")
            delay_s = self._policy.delay_after_death(self._clock())
            if delay_s is None:
                raise Unavailable(
                    f"{self.name} {cause}, death number {self._policy.max_deaths} within "
                    f"{self._policy.window_s:.0f} s: giving up{_last_line(process)}"
                )
            self._sink.record(ServiceDied(self.name, process.pid, cause, delay_s))
            await asyncio.sleep(delay_s)

    def kill(self) -> None:
        """Kills the service at once."""
        if self._process is not None:
            self._process.kill()

    async def _run_once(self, process: ServiceProcess) -> int:
        self._process = process
        try:
            await process.start(self._spec.command_at(self._listen), self._spec.environment)
        except OSError as error:
            raise Unavailable(f"{self.name} cannot be started: {error.strerror}") from error
        await asyncio.wait((process.ready, process.ended), return_when=asyncio.FIRST_COMPLETED)
        if process.ready.done() and not process.ready.cancelled():
            again = self._first_ready.done()
            self._listen = process.ready.result()
            self._sink.record(ServiceReady(self.name, process.pid, self._listen, again))
            if not again:
                self._first_ready.set_result(self._listen)
        return await asyncio.shield(process.ended)

    def _on_line(self, line: LogLine) -> None:
        if line.is_warning and not self._stopping:
            self._sink.record(ServiceWarned(self.name, line.level, line.text))


def _last_line(process: ServiceProcess) -> str:
    """Returns the log line that most likely explains why a process ended: its last warning, or its last line."""
    lines = [line for line in process.last_lines if line.is_warning] or list(process.last_lines)
    return f": {lines[-1].text}" if lines else ""

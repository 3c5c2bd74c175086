"""A whole mesh on one machine: each service is a process."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic

from onnxmesh.cli.local_mesh.state_folder import StateFolder
from onnxmesh.client import MeshClient
from onnxmesh.errors import DeadlineExceeded, InvalidRequest, Unavailable
from onnxmesh.host_and_port import host_and_port
from onnxmesh.quantities import count_text
from onnxmesh.supervisor.events import EventSink
from onnxmesh.supervisor.service_group import ServiceGroup
from onnxmesh.supervisor.service_manager import CommandAt, ServiceManager, ServiceSpec
from onnxmesh.v1.mesh_pb2 import StatusResponse

_ANY_PORT = "127.0.0.1:0"
_POLL_S = 0.05
_READY_TIMEOUT_S = 60.0
_RESTORE_S = 30.0
_DRAIN_S = 2.0
_NOT_INHERITED = frozenset(
    f"ONNXMESH_{name}" for name in ("ADVERTISE", "CONSUL", "METRICS", "READY_LINE", "SHARED_LISTEN")
)
"""Environment variables that would be wrong for all services of one mesh, or keep it from starting."""
_ANY_HOST = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


@dataclass(frozen=True, slots=True)
class MeshShape:
    """The number and the settings of the services to start.

    Attributes:
        num_workers: Number of workers, at least 1.
        threads: ONNX Runtime threads of each worker.
        address: HOST:PORT of the gateway; port 0: a free one.
        zones: Zones of the workers in turn; the gateway is in the first. Empty: no zones.
        gateway_processes: Number of processes that share the gateway's port.
        metrics: HOST:PORT of the metrics of each of `processes`, by name; empty: none are served.
    """

    num_workers: int
    threads: int
    address: str
    zones: tuple[str, ...] = ()
    gateway_processes: int = 1
    metrics: Mapping[str, str] = field(default_factory=dict)

    @property
    def processes(self) -> list[str]:
        """Names of the processes that may serve metrics: the gateway's follow each other."""
        gateways = [f"gateway-{number}" for number in range(self.gateway_processes)]
        workers = [f"worker-{number}" for number in range(self.num_workers)]
        return ["scheduler", *(gateways if self.gateway_processes > 1 else ["gateway"]), *workers]

    def metrics_of(self, name: str) -> list[str]:
        """Returns the option with the address of a service's metrics; that of the first process of several."""
        address = self.metrics.get(name) or self.metrics.get(f"{name}-0")
        return ["--metrics", address] if address else []

    def zone(self, number: int) -> list[str]:
        """Returns the option with the zone of the service with this number."""
        return ["--zone", self.zones[number % len(self.zones)]] if self.zones else []


class EmbeddedMesh:
    """Starts scheduler, workers and gateway, keeps them alive, and stops them together.

    Args:
        shape: The services to start.
        state: The folder of their files.
        sink: Receives their events.
    """

    def __init__(self, shape: MeshShape, state: StateFolder, sink: EventSink) -> None:
        self._shape = shape
        self._state = state
        self._sink = sink
        self._services = ServiceGroup()

    async def run(self, serve: Callable[[str], Awaitable[None]]) -> None:
        """Starts all services, calls `serve` with the gateway's address, and stops them when it returns or is cancelled.

        Raises:
            InvalidRequest: The gateway's address is not HOST:PORT (INVALID_ARGUMENT).
            Unavailable: The address is in use, or a service cannot start (UNAVAILABLE).
        """
        require_free_address(self._shape.address)
        async with self._services:
            scheduler = await self._keep("scheduler", _ANY_PORT, self._scheduler_at).ready()
            gateway = self._keep("gateway", self._shape.address, self._gateway_at(scheduler))
            workers = [
                self._keep(f"worker-{number}", _ANY_PORT, self._worker_at(number, scheduler))
                for number in range(self._shape.num_workers)
            ]
            for worker in workers:
                await worker.ready()
            address = await gateway.ready()
            await self._wait_ready(reachable_address(address))
            await serve(address)

    def kill(self) -> None:
        """Kills every process at once."""
        self._services.kill()

    def _keep(self, name: str, listen: str, command_at: CommandAt) -> ServiceManager:
        spec = ServiceSpec(
            name=name,
            listen=listen,
            command_at=lambda address: [*command_at(address), *self._shape.metrics_of(name)],
            log=self._state.log(name),
            environment=_environment(),
        )
        manager = ServiceManager(spec, self._sink)
        self._services.start(manager)
        return manager

    async def _wait_ready(self, address: str) -> None:
        """Waits until the gateway answers, every worker has joined, and models of an earlier run are served."""
        progress = "the gateway does not answer"
        joined_s: float | None = None
        try:
            async with asyncio.timeout(_READY_TIMEOUT_S), MeshClient(address) as client:
                while True:
                    try:
                        status = await client.status(timeout=1.0)
                        progress = (
                            f"{len(status.workers)} of {count_text(self._shape.num_workers, 'worker')} joined"
                        )
                        if len(status.workers) >= self._shape.num_workers:
                            joined_s = joined_s or monotonic()
                            # A restored model may be impossible to serve: it must not keep the mesh from being ready.
                            if await _all_served(client, status) or monotonic() > joined_s + _RESTORE_S:
                                return
                    except (Unavailable, DeadlineExceeded):
                        pass
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise Unavailable(f"the mesh is not ready after {_READY_TIMEOUT_S:.0f} s: {progress}") from None

    def _scheduler_at(self, listen: str) -> list[str]:
        return [*_service("scheduler", listen), "--state", str(self._state.scheduler)]

    def _gateway_at(self, scheduler: str) -> CommandAt:
        settings = ["--scheduler", scheduler, *self._shape.zone(0)]
        settings += ["--processes", str(self._shape.gateway_processes)]
        return lambda listen: [*_service("gateway", listen), *settings]

    def _worker_at(self, number: int, scheduler: str) -> CommandAt:
        name = f"worker-{number}"
        settings = ["--id", name, "--scheduler", scheduler, "--threads", str(self._shape.threads)]
        settings += ["--cache", str(self._state.cache(name)), *self._shape.zone(number)]
        return lambda listen: [*_service("worker", listen), *settings]


async def _all_served(client: MeshClient, status: StatusResponse) -> bool:
    """Whether scheduler and gateway report every model as ready."""
    if any(model.state != "READY" for model in status.models):
        return False
    names = {model.name for model in status.models}
    ready = [await client.server_ready(timeout=1.0)]
    ready += [await client.model_ready(name, timeout=1.0) for name in names]
    return all(ready)


def _environment() -> dict[str, str]:
    """Returns this process's environment without the settings of a service that is started by hand."""
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def _service(role: str, listen: str) -> list[str]:
    command = [sys.executable, "-m", f"services.{role}", "--listen", listen]
    return [*command, "--log-format", "json", "--exit-with-parent", "--drain-s", str(_DRAIN_S)]


def require_free_address(address: str) -> None:
    """Checks that a service can listen at `address`, before anything is started.

    Raises:
        InvalidRequest: It is not HOST:PORT (INVALID_ARGUMENT).
        Unavailable: It is in use, or not an address of this machine (UNAVAILABLE).
    """
    try:
        host, _, port = host_and_port(address).rpartition(":")
    except ValueError as error:
        raise InvalidRequest(f"--address: {error}") from None
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidRequest(f"cannot listen on {address}: {error.strerror}") from error
    family, kind, protocol, _, name = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(name)
        except OSError as error:
            hint = ""
            if error.errno == errno.EADDRINUSE:
                hint = f"; is a mesh running there? --address {host}:0 takes a free port"
            raise Unavailable(f"cannot listen on {address}: {error.strerror}{hint}") from error


def reachable_address(address: str) -> str:
    """Returns the address at which this machine reaches a service that listens on `address`."""
    host, _, port = address.rpartition(":")
    return f"{_ANY_HOST.get(host, host)}:{port}"

"""Servers of a service process."""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.rpc.grpc.channel import MAX_MESSAGE_BYTES, server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.service.health_servicer import HealthServicer
from onnxmesh.service.metrics import MetricsServer, process_registry
from onnxmesh.service.settings.service import ServiceSettings

if TYPE_CHECKING:
    from onnxmesh.http2.server.grpc_fallback import GrpcFallback
    from onnxmesh.http2.server.server import Http2Server

_EVERY_ADDRESS = frozenset({"0.0.0.0", "[::]"})


class Serving:
    """The servers of one service process: gRPC, or HTTP/2 in front of it, health and metrics.

    Args:
        settings: Addresses to listen on and to advertise.
        max_message_bytes: Largest message that is accepted or sent.
        shared: Further HOST:PORT to listen on, shared with other processes of this host.
        with_http2: Whether onnxmesh's own HTTP/2 server listens, and forwards calls without a handler to gRPC's server.
        services: Full names of the gRPC services that are as healthy as the process.
        spoken: What the HTTP/2 server answers to clients that do not speak gRPC; see `onnxmesh.http2.server.service.Service`. None: its
            default.
        min_gzip_bytes: From this size on its responses are compressed for clients that accept that.

    Attributes:
        server: The gRPC server; add handlers before `start`.
        http2: The HTTP/2 server in front of it; None: gRPC's server listens itself. Add handlers before `start`.
        health: Health by service name; `""` is the whole process.
        listens: HOST:PORT that it listens on, with the port that it got.
        address: HOST:PORT that peers dial; known before `start`.
        registry: Metrics of this process.
        metrics_address: HOST:PORT of the metrics; None: they are not served.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        shared: str | None = None,
        *,
        with_http2: bool = False,
        services: Sequence[str] = (),
        spoken: str | None = None,
        min_gzip_bytes: float = math.inf,
    ) -> None:
        self.server = grpc.aio.server(
            interceptors=[ErrorInterceptor()],
            options=server_options(max_message_bytes, share_ports=shared is not None),
        )
        self.health = HealthServicer(services)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.http2: Http2Server | None = None
        self._fallback: GrpcFallback | None = None
        if with_http2:
            # Imported only where it is used: schedulers and workers start without it.
            from onnxmesh.http2.protocol.limits import ConnectionLimits  # noqa: PLC0415 - see above
            from onnxmesh.http2.server.grpc_fallback import GrpcFallback  # noqa: PLC0415 - see above
            from onnxmesh.http2.server.server import Http2Server  # noqa: PLC0415 - see above
            from onnxmesh.http2.server.service import DEFAULT_SPOKEN  # noqa: PLC0415 - see above

            self._fallback = GrpcFallback(self._listen_internally(), max_message_bytes)
            self.http2 = Http2Server(
                self._fallback,
                ConnectionLimits(max_message_bytes=max_message_bytes),
                spoken=spoken or DEFAULT_SPOKEN,
                min_gzip_bytes=min_gzip_bytes,
            )
        port = self._listen(settings.listen, shared=shared is not None)
        if shared is not None:
            self._listen(shared, shared=True)
        host = settings.listen.rpartition(":")[0]
        self.listens = f"{host}:{port}"
        # Peers cannot dial "every address".
        named = socket.gethostname() if host in _EVERY_ADDRESS else host
        self.address = _with_port(settings.advertise or f"{named}:0", port)
        self.registry = process_registry()
        self._ready = asyncio.Event()
        self._metrics = None if settings.metrics is None else MetricsServer(settings.metrics, self.registry)
        self.metrics_address = None if self._metrics is None else self._metrics.address

    def _listen(self, address: str, *, shared: bool) -> int:
        try:
            if self.http2 is not None:
                return self.http2.listen(address, shared=shared)
            return self.server.add_insecure_port(address)
        except (OSError, RuntimeError) as error:
            raise SystemExit(f"cannot listen on {address}: is the address in use?") from error

    def _listen_internally(self) -> str:
        """Lets gRPC's server listen on an address for this process alone; returns it."""
        if sys.platform != "linux":
            return f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        address = f"unix-abstract:onnxmesh/{secrets.token_hex(16)}"
        self.server.add_insecure_port(address)
        return address

    async def start(self) -> None:
        """Starts to serve; the health of the process becomes SERVING."""
        await self.server.start()
        if self._fallback is not None:
            self._fallback.open()
        if self.http2 is not None:
            await self.http2.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    def set_ready(self) -> None:
        """Declares this service ready: it has all that it needs to do its work."""
        self._ready.set()

    async def ready_after(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Waits, and declares this service ready."""
        await wait()
        self.set_ready()

    async def wait_ready(self) -> None:
        """Returns once this service is ready."""
        await self._ready.wait()

    async def disconnect_clients(self, grace_s: float) -> None:
        """Sends GOAWAY to clients and closes their connections; calls under way have `grace_s` to finish."""
        await (self.server if self.http2 is None else self.http2).stop(grace_s)

    async def stop(self, grace_s: float) -> None:
        """Stops all servers; calls under way have `grace_s` to finish."""
        async with asyncio.TaskGroup() as tasks:
            if self._metrics is not None:
                tasks.create_task(asyncio.to_thread(self._metrics.close))
            await self.disconnect_clients(grace_s)
            if self._fallback is not None:
                await self._fallback.close()
            await self.server.stop(grace_s)

    async def announce_stop(self) -> None:
        """Sets the health of the process and all its services to NOT_SERVING for good."""
        await self.health.enter_graceful_shutdown()


class ServiceEndpoint(Protocol):
    """Addresses of a running service, in this process or in child processes; see `Serving`."""

    @property
    def listens(self) -> str:
        """HOST:PORT that it listens on."""

    @property
    def address(self) -> str:
        """HOST:PORT that peers dial."""

    @property
    def metrics_address(self) -> str | None:
        """HOST:PORT of its metrics; None: this process serves none."""

    async def wait_ready(self) -> None:
        """Returns once it is ready: it has found a scheduler, or for a scheduler the registry."""


def _with_port(address: str, port: int) -> str:
    host, _, own_port = address.rpartition(":")
    return address if int(own_port) else f"{host}:{port}"

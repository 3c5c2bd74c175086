"""The shell that every service runs in: settings, server, ready line, signals, orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict, SettingsError

from onnxmesh.errors import MeshError
from onnxmesh.host_and_port import host_and_port
from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.server.grpc_fallback import GrpcFallback
from onnxmesh.http2.server.server import Http2Server
from onnxmesh.rpc.grpc.channel import MAX_MESSAGE_BYTES, server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.service.freed_memory import keep_freed_memory
from onnxmesh.telemetry.logs import LogFormat, LogLevel, configure_logs
from onnxmesh.telemetry.metrics import MetricsServer, process_registry

_log = structlog.get_logger(__name__)


class ServiceSettings(BaseSettings):
    """Settings that all services have: flags, or environment variables ONNXMESH_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="ONNXMESH_",
        frozen=True,
        extra="ignore",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_enforce_required=False,
        cli_hide_none_type=True,
    )

    listen: str = Field("127.0.0.1:0", description="HOST:PORT to serve on; port 0 takes a free one")
    advertise: str | None = Field(
        None,
        description="HOST:PORT at which others reach this service, port 0 stands for the one it listens on; default: "
        "where it listens, by the name of this host if it listens on every address",
    )
    region: str = Field("", description="where this service is: a set of zones")
    zone: str = Field("", description="where this service is: what fails together and is near to itself")
    drain_s: float = Field(10.0, ge=0, description="seconds that running requests get when the service stops")
    log_format: LogFormat = Field("auto", description="auto: text on a terminal, JSON elsewhere")
    log_level: LogLevel = Field("info", description="least level that is logged")
    metrics: str | None = Field(
        None,
        description="HOST:PORT to serve figures for Prometheus on, over HTTP; port 0 takes a free one; "
        "default: they are not served",
    )
    ready_line: bool = Field(True, description="say on standard output when the service is ready, and where")
    exit_with_parent: bool = Field(False, description="stop when standard input ends")

    @field_validator("listen", "advertise", "metrics")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        return None if address is None else host_and_port(address)

    def place(self) -> dict[str, str]:
        """Returns where this service is as attributes of its registration: `host`, and what is set of the rest."""
        known = {"region": self.region, "zone": self.zone, "host": socket.gethostname()}
        return {name: value for name, value in known.items() if value}


def _with_port(address: str, port: int) -> str:
    host, _, own_port = address.rpartition(":")
    return address if int(own_port) else f"{host}:{port}"


_EVERY_ADDRESS = frozenset({"0.0.0.0", "[::]"})


class Serving:
    """A server that listens, and how the world reaches it.

    Args:
        settings: Say where to listen.
        max_message_bytes: The largest message that is taken or sent.
        shared: HOST:PORT to serve too, together with other processes of this host.
        with_edge: Whether an HTTP/2 edge of our own listens there, and passes on to gRPC's server what it has no handler for.

    Attributes:
        server: The gRPC server; add handlers before `start`.
        edge: What listens instead of it; None: nothing does. Add handlers before `start`.
        health: Health by service name; `""` is the whole process.
        listens: Where it listens, with the port that it got.
        address: What peers dial; known from the beginning.
        registry: Figures of this process; served where an operator asks for it.
        metrics_address: HOST:PORT at which they are; None: they are not.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        shared: str | None = None,
        *,
        with_edge: bool = False,
    ) -> None:
        self.server = grpc.aio.server(
            interceptors=[ErrorInterceptor()],
            options=server_options(max_message_bytes, share_ports=shared is not None),
        )
        self.health = health_aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.edge: Http2Server | None = None
        self._passing_on: GrpcFallback | None = None
        if with_edge:
            self._passing_on = GrpcFallback(self._listen_inside(), max_message_bytes)
            self.edge = Http2Server(self._passing_on, ConnectionLimits(max_message_bytes=max_message_bytes))
        port = self._listen(settings.listen, shared=shared is not None)
        if shared is not None:
            self._listen(shared, shared=True)
        host = settings.listen.rpartition(":")[0]
        self.listens = f"{host}:{port}"
        # Nobody elsewhere could dial "every address".
        named = socket.gethostname() if host in _EVERY_ADDRESS else host
        self.address = _with_port(settings.advertise or f"{named}:0", port)
        self.registry = process_registry()
        self._metrics = None if settings.metrics is None else MetricsServer(settings.metrics, self.registry)
        self.metrics_address = None if self._metrics is None else self._metrics.address

    def _listen(self, address: str, *, shared: bool) -> int:
        try:
            if self.edge is not None:
                return self.edge.listen(address, shared=shared)
            return self.server.add_insecure_port(address)
        except (OSError, RuntimeError) as error:
            raise SystemExit(f"cannot listen on {address}: is the address in use?") from error

    def _listen_inside(self) -> str:
        """Has gRPC's server listen where nobody but this process calls; returns where."""
        if sys.platform != "linux":
            return f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        address = f"unix-abstract:onnxmesh/{secrets.token_hex(16)}"
        self.server.add_insecure_port(address)
        return address

    async def start(self) -> None:
        """Begins to serve; health says SERVING for the process."""
        await self.server.start()
        if self._passing_on is not None:
            self._passing_on.open()
        if self.edge is not None:
            await self.edge.start()
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def leave(self, grace_s: float) -> None:
        """Sends clients elsewhere, in the way of HTTP/2; what they have sent is answered within `grace_s`."""
        await (self.server if self.edge is None else self.edge).stop(grace_s)

    async def stop(self, grace_s: float) -> None:
        """Ends the server; what runs gets `grace_s`."""
        async with asyncio.TaskGroup() as tasks:
            if self._metrics is not None:
                tasks.create_task(asyncio.to_thread(self._metrics.close))
            await self.leave(grace_s)
            if self._passing_on is not None:
                await self._passing_on.close()
            await self.server.stop(grace_s)

    async def announce_end(self) -> None:
        """Health says NOT_SERVING for everything from now on."""
        await self.health.enter_graceful_shutdown()


class Front(Protocol):
    """Where a service is reached that runs, in this process or in others that it keeps; see `Serving`."""

    @property
    def listens(self) -> str:
        """HOST:PORT that it listens on."""

    @property
    def address(self) -> str:
        """What peers dial."""

    @property
    def metrics_address(self) -> str | None:
        """HOST:PORT of its figures; None: this process serves none."""


S = TypeVar("S", bound=ServiceSettings)


def run_service(
    role: str,
    settings_type: type[S],
    app: Callable[[S], AbstractAsyncContextManager[Front]],
) -> None:
    """Runs a service until SIGTERM, SIGINT, or, if so set, the end of standard input.

    `app` is entered to start it and left to drain it. Once it serves, the line `ready ROLE HOST:PORT` goes to
    standard output, with the address that it listens on, unless a setting says that nobody reads it.

    Args:
        role: `gateway`, `scheduler` or `worker`.
        settings_type: Read from flags and environment here and nowhere else; a wrong one ends the
            process with a line that names it, and exit status 2.
        app: Builds the service; its context is the time in which it serves.
    """
    settings = _read_settings(role, settings_type)
    configure_logs(role, settings.log_format, settings.log_level)
    keep_freed_memory()
    try:
        _run(_serve(role, settings, app))
    except MeshError as error:
        raise SystemExit(f"{role}: {error.message}") from error


async def _serve(role: str, settings: S, app: Callable[[S], AbstractAsyncContextManager[Front]]) -> None:
    async with stop_signals(watch_stdin=settings.exit_with_parent) as stop:
        async with app(settings) as serving:
            if settings.ready_line:
                print(f"ready {role} {serving.listens}", flush=True)  # noqa: T201 - the supervisor reads it
            _log.info("serving", address=serving.address, metrics=serving.metrics_address)
            await stop.wait()
            _log.info("stopping")
        _log.info("stopped")


@contextlib.asynccontextmanager
async def stop_signals(*, watch_stdin: bool) -> AsyncIterator[asyncio.Event]:
    """Yields an event that is set by SIGTERM, SIGINT or SIGHUP, and by the end of standard input if asked."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, stop.set)
    if watch_stdin:

        def wait_for_end() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            with contextlib.suppress(RuntimeError):  # the loop may be gone by then
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_end, name="stdin", daemon=True).start()
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _read_settings(role: str, settings_type: type[S]) -> S:
    try:
        return CliApp.run(settings_type, cli_exit_on_error=True)
    except ValidationError as error:
        problems = "; ".join(_wrong(settings_type, problem) for problem in error.errors())
        sys.stderr.write(f"{role}: wrong setting {problems}\n")
        raise SystemExit(2) from None
    except SettingsError as error:
        sys.stderr.write(f"{role}: {error}\n")
        raise SystemExit(2) from None


def _wrong(settings_type: type[ServiceSettings], problem: ErrorDetails) -> str:
    """Says what is wrong with one setting, and how it was set unless that is a secret."""
    name = ".".join(map(str, problem["loc"]))
    if name not in settings_type.model_fields:
        return problem["msg"]  # of all settings together: some of them may be secrets
    said = f"{name}: {problem['msg']}"
    secret = "Secret" in str(settings_type.model_fields[name].annotation)
    return said if secret else f"{said} (got {problem['input']!r})"


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)

"""Life cycle of a service process: settings, ready line, signals, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import grpc.aio
import structlog

from onnxmesh.errors import MeshError
from onnxmesh.service.freed_memory import keep_freed_memory
from onnxmesh.service.logs import configure_logs
from onnxmesh.service.serving import ServiceEndpoint
from onnxmesh.service.settings.service import ServiceSettings
from onnxmesh.service.settings_reader import load_settings

_log = structlog.get_logger(__name__)

S = TypeVar("S", bound=ServiceSettings)


def run_service(
    role: str,
    settings_type: type[S],
    app: Callable[[S], AbstractAsyncContextManager[ServiceEndpoint]],
) -> None:
    """Runs a service until SIGTERM, SIGINT or SIGHUP or, if so set, the end of standard input.

    Entering the context of `app` starts the service, leaving it drains it. Once it is ready (see `ServiceEndpoint`), the line
    `ready ROLE HOST:PORT` with the address that it listens on is printed to standard output, if so set.

    Args:
        role: `gateway`, `scheduler` or `worker`.
        settings_type: Read from flags and environment here and nowhere else; see `load_settings`.
        app: Returns the context in which the service serves.
    """
    settings = load_settings(role, settings_type)
    configure_logs(role, settings.log_format, settings.log_level)
    keep_freed_memory()
    try:
        _run(_serve(role, settings, app))
    except MeshError as error:
        raise SystemExit(f"{role}: {error.message}") from error


async def _serve(
    role: str, settings: S, app: Callable[[S], AbstractAsyncContextManager[ServiceEndpoint]]
) -> None:
    # One event loop in this process. Otherwise gRPC joins its poller thread when its last object is deleted, and that thread may wait for this event loop to read
    # its socket: the process would not end (https://github.com/grpc/grpc/pull/40989).
    grpc.aio.init_grpc_aio()
    async with stop_signals(watch_stdin=settings.exit_with_parent) as stop:
        async with app(settings) as serving:
            _log.info("serving", address=serving.address, metrics=serving.metrics_address)
            if await _ready_before(stop, serving):
                if settings.ready_line:
                    print(f"ready {role} {serving.listens}", flush=True)  # noqa: T201 - the supervisor reads it
                await stop.wait()
            _log.info("stopping")
        _log.info("stopped")


async def _ready_before(stop: asyncio.Event, serving: ServiceEndpoint) -> bool:
    """Waits until the service is ready or is to stop; returns whether it is ready."""
    async with asyncio.TaskGroup() as group:
        ready, stopping = group.create_task(serving.wait_ready()), group.create_task(stop.wait())
        await asyncio.wait((ready, stopping), return_when=asyncio.FIRST_COMPLETED)
        is_ready = ready.done()
        ready.cancel()
        stopping.cancel()
    return is_ready


@contextlib.asynccontextmanager
async def stop_signals(*, watch_stdin: bool) -> AsyncIterator[asyncio.Event]:
    """Yields an event that is set by SIGTERM, SIGINT or SIGHUP and, with `watch_stdin`, by the end of standard input."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in caught:
        loop.add_signal_handler(number, stop.set)
    if watch_stdin:

        def wait_for_end() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_end, name="stdin", daemon=True).start()
    try:
        yield stop
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)

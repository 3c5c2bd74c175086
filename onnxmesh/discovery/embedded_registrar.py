"""Registration with the registry inside a scheduler."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
import structlog

from onnxmesh.discovery.embedded_registry import REGISTRATION_TTL_S
from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.registration import Registration
from onnxmesh.errors import Conflict, MeshError, Unavailable
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.registry_pb2 import RegisterRequest, RegisterResponse
from onnxmesh.v1.registry_pb2_grpc import RegistryStub

HEARTBEAT_S = 1.0
"""Time between heartbeats."""

_RETRY_S = 0.2
_CONFLICT_RETRY_S = 2.0

_log = structlog.get_logger(__name__)


class EmbeddedRegistrar:
    """The `Registrar` of a mesh whose schedulers have the registry.

    Args:
        addresses: `HOST:PORT` of the schedulers, tried one after the other.
        heartbeat_s: Time between heartbeats.
        timeout_s: Time without an answer to a heartbeat after which the registry is dialled again.
        on_failure: Called with the address and the error of each attempt that failed.
    """

    def __init__(
        self,
        addresses: str | Sequence[str],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        timeout_s: float = REGISTRATION_TTL_S,
        on_failure: Callable[[str, MeshError], None] | None = None,
    ) -> None:
        self._addresses = (addresses,) if isinstance(addresses, str) else tuple(addresses)
        self._heartbeat_s = heartbeat_s
        self._timeout_s = timeout_s
        self._on_failure = on_failure

    @asynccontextmanager
    async def register(self, instance: Instance) -> AsyncIterator[Registration]:
        """Registers `instance` for the duration of the context, again after each outage of the registry.

        Entering does not wait for the registry: `Registration.wait` does.
        """
        registration = Registration(instance)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(self._keep(registration))
            try:
                yield registration
            finally:
                keeping.cancel()

    async def _keep(self, registration: Registration) -> None:
        async with AsyncExitStack() as stack:
            channels = [await stack.enter_async_context(open_channel(each)) for each in self._addresses]
            refused = ""
            for number in itertools.count():
                channel, address = channels[number % len(channels)], self._addresses[number % len(channels)]
                error = await self._hold(RegistryStub(channel), registration)
                if registration.held or (isinstance(error, Conflict) and error.message != refused):
                    _log.warning("registration_lost", registry=address, error=error.message)
                refused = error.message if isinstance(error, Conflict) else ""
                if self._on_failure is not None:
                    self._on_failure(address, error)
                registration.mark_lost()
                await asyncio.sleep(_CONFLICT_RETRY_S if isinstance(error, Conflict) else _RETRY_S)

    async def _hold(self, stub: RegistryStub, registration: Registration) -> MeshError:
        """Keeps one stream open until it ends; returns why it ended."""
        # A call that waited for the connection would not report why there is none.
        call = stub.Register(wait_for_ready=False)
        sent = registration.instance
        try:
            await call.write(RegisterRequest(instance=sent.to_proto()))
            answer = await call.read()
            while isinstance(answer, RegisterResponse):
                registration.mark_held()
                await asyncio.sleep(self._heartbeat_s)
                message = RegisterRequest()
                if registration.instance is not sent:
                    sent = registration.instance
                    message.instance.CopyFrom(sent.to_proto())
                async with asyncio.timeout(self._timeout_s):
                    await call.write(message)
                    answer = await call.read()
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error)
        except TimeoutError:
            return Unavailable(f"the registry did not answer for {self._timeout_s:g} s")
        except asyncio.InvalidStateError:  # written to after the call had ended
            return Unavailable(f"the registry ended the stream: {await call.code()}")
        finally:
            call.cancel()
        return Unavailable("the registry ended the stream")

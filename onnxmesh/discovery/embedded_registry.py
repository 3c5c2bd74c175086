"""Registry inside a scheduler, for a mesh without Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.lease_table import LeaseTable
from onnxmesh.discovery.stale_entries import without_stale_entries
from onnxmesh.errors import InvalidRequest, MeshError, Unavailable
from onnxmesh.latest import Latest
from onnxmesh.v1.registry_pb2 import RegisterRequest, RegisterResponse
from onnxmesh.v1.registry_pb2_grpc import RegistryServicer

REGISTRATION_TTL_S = 3.0
"""Time without a heartbeat after which a registration expires."""

_log = structlog.get_logger(__name__)


class EmbeddedRegistry(RegistryServicer):
    """Serves `Registry` from memory, and is the `Directory` of what it holds.

    A registration lasts as long as its stream and its heartbeats. `run` must run beside the server.

    Args:
        ttl_s: Time without a heartbeat after which a registration expires.
        clock: Seconds, monotonic.
    """

    def __init__(self, *, ttl_s: float = REGISTRATION_TTL_S, clock: Clock = monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._leases = LeaseTable(ttl_s)
        self._latest: Latest[Mapping[str, Instance]] = Latest({})

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every registered process, by id."""
        return self._latest.value

    async def after(self, revision: int) -> tuple[int, Mapping[str, Instance]]:
        """Waits for a revision greater than `revision` (0: any) and returns it with its instances."""
        return await self._latest.after(revision)

    async def run(self) -> None:
        """Removes expired registrations, until it is cancelled."""
        while True:
            await asyncio.sleep(self._ttl_s / 12)
            for instance in self._leases.expire(self._clock()):
                _log.warning("registration_expired", id=instance.id, role=instance.role)
            self._publish()

    # A coroutine that writes, not a generator: its `finally` then runs at once when the client disconnects.
    async def Register(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self,
        request_iterator: AsyncIterator[RegisterRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Keeps one registration for as long as the stream is open.

        Raises:
            InvalidRequest: The first message is no valid instance (INVALID_ARGUMENT).
            Conflict: A newer generation has the id (ALREADY_EXISTS).
            Unavailable: The heartbeat was overdue, or a newer stream replaced this one (UNAVAILABLE).
        """
        first = await self._next(request_iterator)
        if first is None or not first.HasField("instance"):
            raise InvalidRequest("the first message of a registration must have an instance")
        instance = Instance.from_proto(first.instance)
        token = self._leases.grant(instance, self._clock())
        _log.info("registered", id=instance.id, role=instance.role, address=instance.address)
        try:
            self._publish()
            await context.write(RegisterResponse())
            while (heartbeat := await self._next(request_iterator)) is not None:
                if heartbeat.HasField("instance"):
                    self._leases.update(token, Instance.from_proto(heartbeat.instance))
                    self._publish()
                if not self._leases.renew(instance.id, token, self._clock()):
                    raise Unavailable(f"the registration of '{instance.id}' has ended: register again")
                await context.write(RegisterResponse())
        finally:
            if self._leases.release(instance.id, token, self._clock()):
                _log.info("deregistered", id=instance.id, role=instance.role)
                self._publish()

    async def _next(self, requests: AsyncIterator[RegisterRequest]) -> RegisterRequest | None:
        """Returns the next message, None at the end of the stream."""
        try:
            async with asyncio.timeout(2 * self._ttl_s):
                return await anext(requests, None)
        except TimeoutError:
            raise _overdue(2 * self._ttl_s) from None

    def _publish(self) -> None:
        instances = without_stale_entries(self._leases.instances.values())
        if instances != self._latest.value:
            self._latest.set(instances)


def _overdue(seconds: float) -> MeshError:
    return Unavailable(f"no heartbeat for {seconds:g} s: register again")

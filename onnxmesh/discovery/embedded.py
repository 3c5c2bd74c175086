"""The registry inside the scheduler, for a mesh that needs nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from time import monotonic
from typing import Any

import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.membership import Membership
from onnxmesh.discovery.stale_entries import without_stale_entries
from onnxmesh.errors import InvalidRequest, MeshError, Unavailable
from onnxmesh.latest import Latest
from onnxmesh.v1.registry_pb2 import RegisterRequest, RegisterResponse
from onnxmesh.v1.registry_pb2_grpc import RegistryServicer

SILENCE_S = 3.0
"""A registration that is not heard of for longer is dropped."""

_log = structlog.get_logger(__name__)


class EmbeddedRegistry(RegistryServicer):
    """Serves `Registry` from memory, and is the `Directory` of what it holds.

    A registration lives as long as its stream and its heartbeats. `run` must run beside the server.

    Args:
        silence_s: A registration that is not heard of for longer is dropped.
        clock: Seconds, monotonic.
    """

    def __init__(self, *, silence_s: float = SILENCE_S, clock: Clock = monotonic) -> None:
        self._silence_s = silence_s
        self._clock = clock
        self._membership = Membership(silence_s)
        self._latest: Latest[Mapping[str, Instance]] = Latest({})

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Everyone registered now, by id."""
        return self._latest.value

    async def after(self, revision: int) -> tuple[int, Mapping[str, Instance]]:
        """Waits for a revision greater than `revision` (0: for none) and returns it with everyone then."""
        return await self._latest.after(revision)

    async def run(self) -> None:
        """Drops those who fell silent, until it is cancelled."""
        while True:
            await asyncio.sleep(self._silence_s / 12)
            for instance in self._membership.expire(self._clock()):
                _log.warning("registration_silent", id=instance.id, role=instance.role)
            self._publish()

    # A coroutine that writes, not a generator: its `finally` then runs at once when the client is gone.
    async def Register(  # type: ignore[override]  # noqa: N802 - the protocol's name
        self,
        request_iterator: AsyncIterator[RegisterRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Holds one registration for as long as the stream lives.

        Raises:
            InvalidRequest: The first message is no valid instance (INVALID_ARGUMENT).
            Conflict: A newer generation has the id (ALREADY_EXISTS).
            Unavailable: The stream was silent for too long, or replaced by a newer one (UNAVAILABLE).
        """
        first = await self._next(request_iterator)
        if first is None or not first.HasField("instance"):
            raise InvalidRequest("the first message of a registration must say who registers")
        instance = Instance.from_proto(first.instance)
        token = self._membership.join(instance, self._clock())
        _log.info("registered", id=instance.id, role=instance.role, address=instance.address)
        try:
            self._publish()
            await context.write(RegisterResponse())
            while (beat := await self._next(request_iterator)) is not None:
                if beat.HasField("instance"):
                    self._membership.describe(token, Instance.from_proto(beat.instance))
                    self._publish()
                if not self._membership.heard(instance.id, token, self._clock()):
                    raise Unavailable(f"the registration of '{instance.id}' has ended: register again")
                await context.write(RegisterResponse())
        finally:
            if self._membership.leave(instance.id, token, self._clock()):
                _log.info("deregistered", id=instance.id, role=instance.role)
                self._publish()

    async def _next(self, requests: AsyncIterator[RegisterRequest]) -> RegisterRequest | None:
        """Returns the next message or None at the end; a stream long dropped is not waited for."""
        try:
            async with asyncio.timeout(2 * self._silence_s):
                return await anext(requests, None)
        except TimeoutError:
            raise _silent(2 * self._silence_s) from None

    def _publish(self) -> None:
        instances = without_stale_entries(self._membership.instances.values())
        if instances != self._latest.value:
            self._latest.set(instances)


def _silent(seconds: float) -> MeshError:
    return Unavailable(f"no heartbeat for {seconds:g} s: register again")

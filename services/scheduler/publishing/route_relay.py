"""The route relay: the leader's route table, at every scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import Unavailable
from onnxmesh.latest import Latest
from onnxmesh.routing.table.route_step import Step, next_step
from onnxmesh.v1.mesh_pb2 import RouteUpdate, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.scheduler.route_table.published_table import PublishedTable, as_updates

ORPHAN_S = 10.0
"""Seconds without a leader after which watchers are sent to another scheduler."""

_RETRY_S = 0.2

_log = structlog.get_logger(__name__)


class RouteRelay:
    """Holds the newest table that any leader has published; it stays in force while there is no leader.

    Args:
        id_: This scheduler's name.
        orphan_s: Seconds without a leader after which watchers are sent to another scheduler.
        clock: Seconds, monotonic.
    """

    def __init__(self, id_: str, *, orphan_s: float = ORPHAN_S, clock: Clock = monotonic) -> None:
        self._id = id_
        self._orphan_s = orphan_s
        self._clock = clock
        self._latest: Latest[PublishedTable | None] = Latest(None)
        self._orphaned_since_s: float | None = clock()

    @property
    def epoch(self) -> int:
        """Epoch of the table in force; 0: there is none."""
        held = self._latest.value
        return 0 if held is None else held.epoch

    def accept(self, table: PublishedTable) -> None:
        """Puts a leader's table in force, unless a newer one is."""
        self._orphaned_since_s = None
        held = self._latest.value
        if held is None or table.epoch > held.epoch:
            self._latest.set(table)

    def mark_orphaned(self) -> None:
        """Records that no leader is followed any more."""
        if self._orphaned_since_s is None:
            self._orphaned_since_s = self._clock()

    async def follow(self, stub: MeshStub) -> None:
        """Relays what another scheduler publishes, until it is cancelled."""
        while True:
            call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._id))
            accepted: int | None = None
            try:
                async for update in call:
                    held = self._latest.value
                    step = next_step(update, None if held is None else held.epoch, accepted)
                    if step is Step.WHOLE:
                        self.accept(PublishedTable.from_proto(update.whole))
                        accepted = update.whole.epoch
                    elif step is Step.CHANGE and held is not None:
                        self.accept(held.apply(update.change))
                        accepted = update.change.epoch
                    elif step is Step.RESYNC:
                        _log.info("route_change_missed", epoch=update.change.from_epoch, held=accepted)
                        break
            except grpc.aio.AioRpcError as error:
                _log.info("leader_not_followed", why=error.code().name)
            finally:
                self.mark_orphaned()
                call.cancel()
            await asyncio.sleep(_RETRY_S)

    def watch(self) -> AsyncIterator[RouteUpdate]:
        """Yields the whole table, as soon as there is one, then the changes; the whole again after a change of leader.

        Raises:
            Unavailable: See `tables`.
        """
        return as_updates(self.tables())

    async def tables(self) -> AsyncIterator[PublishedTable]:
        """Yields the table in force, as soon as there is one, and each newer one.

        Raises:
            Unavailable: No leader was followed for `orphan_s`: another scheduler may know more (UNAVAILABLE).
        """
        revision = 0
        while True:
            try:
                async with asyncio.timeout(self._orphan_s / 2):
                    revision, table = await self._latest.after(revision)
            except TimeoutError:
                alone_since_s = self._orphaned_since_s
                if alone_since_s is not None and self._clock() - alone_since_s > self._orphan_s:
                    raise Unavailable("this scheduler follows no leader: another one may") from None
                continue
            if table is not None:
                yield table

"""The leader's route table, at every scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
import structlog

from onnxmesh.latest import Latest
from onnxmesh.v1.mesh_pb2 import RouteTable, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub

_RETRY_S = 0.2

_log = structlog.get_logger(__name__)


class RouteRelay:
    """Holds the newest table that any leader has published; it stays in force while nobody leads.

    Args:
        id_: This scheduler's name.
    """

    def __init__(self, id_: str) -> None:
        self._id = id_
        self._latest: Latest[RouteTable | None] = Latest(None)

    def take(self, table: RouteTable) -> None:
        """Takes a table up, unless a newer one is here."""
        held = self._latest.value
        if held is None or table.epoch > held.epoch:
            self._latest.set(table)

    async def follow(self, stub: MeshStub) -> None:
        """Takes up what another scheduler publishes, until it is cancelled."""
        while True:
            call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._id))
            try:
                async for table in call:
                    self.take(table)
            except grpc.aio.AioRpcError as error:
                _log.info("leader_not_followed", why=error.code().name)
            finally:
                call.cancel()
            await asyncio.sleep(_RETRY_S)

    async def watch(self) -> AsyncIterator[RouteTable]:
        """Yields the table in force, as soon as there is one, and each newer one."""
        revision = 0
        while True:
            revision, table = await self._latest.after(revision)
            if table is not None:
                yield table

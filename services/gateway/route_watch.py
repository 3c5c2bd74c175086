"""The scheduler's route table, followed for as long as the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc.aio
import structlog

from onnxmesh.routing.table import RoutingTable
from onnxmesh.rpc.channel import open_channel
from onnxmesh.v1.mesh_pb2 import WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub

RETRY_S = 0.2
"""Time between two attempts to reach the scheduler."""

_log = structlog.get_logger(__name__)


class RouteWatch:
    """Holds the newest route table; the last one stays in force while no scheduler answers.

    Args:
        gateway: This gateway's id.
        scheduler: HOST:PORT of the scheduler.
        on_table: Awaited with each new table, before the next one is read.
    """

    def __init__(
        self, gateway: str, scheduler: str, on_table: Callable[[RoutingTable], Awaitable[None]]
    ) -> None:
        self._gateway = gateway
        self._scheduler = scheduler
        self._on_table = on_table
        self._table: RoutingTable | None = None
        self._connected = False

    @property
    def table(self) -> RoutingTable | None:
        """The table in force; None before the first one came."""
        return self._table

    @property
    def connected(self) -> bool:
        """Whether a scheduler is being followed right now."""
        return self._connected

    async def run(self) -> None:
        """Follows the scheduler, whenever there is one, until it is cancelled."""
        async with open_channel(self._scheduler) as channel:
            stub = MeshStub(channel)
            while True:
                why = await self._follow(stub)
                if self._connected:
                    _log.warning("scheduler_lost", scheduler=self._scheduler, why=why)
                self._connected = False
                await asyncio.sleep(RETRY_S)

    async def _follow(self, stub: MeshStub) -> str:
        """Takes tables until the stream ends; returns why it did."""
        call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._gateway), wait_for_ready=True)
        try:
            async for message in call:
                if not self._connected:
                    _log.info("scheduler_found", scheduler=self._scheduler, epoch=message.epoch)
                self._connected = True
                try:
                    table = RoutingTable.from_proto(message)
                except ValueError as error:
                    # A scheduler of a later release; what is served is served on.
                    _log.error("route_table_refused", epoch=message.epoch, error=str(error))
                    continue
                self._table = table
                await self._on_table(table)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        finally:
            call.cancel()
        return "the stream ended"

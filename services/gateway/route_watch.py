"""The scheduler's route table, followed for as long as the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import structlog

from onnxmesh.discovery.schedulers import NamedSchedulers, Schedulers
from onnxmesh.errors import Unavailable
from onnxmesh.routing.table import RoutingTable
from onnxmesh.rpc.channels import Channels
from onnxmesh.v1.mesh_pb2 import WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub

RETRY_S = 0.2
"""Time between two attempts to reach the scheduler."""

_log = structlog.get_logger(__name__)


class RouteWatch:
    """Holds the newest route table; the last one stays in force while no scheduler answers.

    Args:
        gateway: This gateway's id.
        schedulers: Where the schedulers are; when one is lost, the next one is followed.
        on_table: Awaited with each new table, before the next one is read.
    """

    def __init__(
        self, gateway: str, schedulers: Schedulers, on_table: Callable[[RoutingTable], Awaitable[None]]
    ) -> None:
        self._gateway = gateway
        self._schedulers = schedulers
        self._scheduler = ""
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

    @property
    def scheduler(self) -> str:
        """HOST:PORT of the scheduler that is followed, or was last, or may be next.

        Raises:
            Unavailable: None is known (UNAVAILABLE).
        """
        known = self._schedulers.addresses
        if self._scheduler in known:
            return self._scheduler
        if not known:
            raise Unavailable("no scheduler is known", retry_after_s=1.0)
        return known[0]

    async def run(self) -> None:
        """Follows a scheduler, whenever there is one, until it is cancelled."""
        async with Channels() as channels:
            while True:
                known = await self._schedulers.some()
                self._scheduler = _after(self._scheduler, known)
                # Only one that has no substitute is waited for.
                alone = isinstance(self._schedulers, NamedSchedulers) and len(known) == 1
                why = await self._follow(MeshStub(channels.to(self._scheduler)), wait=alone)
                if self._connected:
                    _log.warning("scheduler_lost", scheduler=self._scheduler, why=why)
                self._connected = False
                await asyncio.sleep(RETRY_S)

    async def _follow(self, stub: MeshStub, *, wait: bool) -> str:
        """Takes tables until the stream ends; returns why it did."""
        call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._gateway), wait_for_ready=wait)
        try:
            async for message in call:
                if not self._connected:
                    _log.info("scheduler_found", scheduler=self._scheduler, epoch=message.epoch)
                self._connected = True
                if self._table is not None and message.epoch < self._table.epoch:
                    # Of a scheduler that does not know yet that another leads.
                    _log.info("route_table_outdated", epoch=message.epoch, held=self._table.epoch)
                    continue
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


def _after(address: str, known: Sequence[str]) -> str:
    """Returns the address that follows one in a list, in a circle; the first if it is not there."""
    return known[(known.index(address) + 1) % len(known)] if address in known else known[0]

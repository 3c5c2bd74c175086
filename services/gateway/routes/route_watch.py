"""The route table of a scheduler, followed for as long as the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import structlog

from onnxmesh.discovery.scheduler_addresses import SchedulerAddresses
from onnxmesh.discovery.scheduler_search import SchedulerSearch
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.routing.table.route_step import Step, next_step
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference, difference
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.mesh_pb2 import RouteUpdate, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.gateway.routes.table_freshness import TableFreshness

WATCH_RETRY_S = 0.2
"""Time between two attempts to reach a scheduler."""

OnTable = Callable[[RoutingTable, TableDifference], Awaitable[None]]
"""Applies a new table, given how it differs from the previous one."""

_log = structlog.get_logger(__name__)


class RouteWatch:
    """Holds the newest route table; the last one stays in force while no scheduler answers.

    Args:
        gateway: Id of this gateway.
        schedulers: The known schedulers; when one is lost, the next one is followed.
        freshness: Records whether one is followed: one whose tables are not accepted is not.
        search: Records the same, and why one could not be followed.
        on_table: Awaited with each new table and its difference, before the next one is read.
    """

    def __init__(
        self,
        gateway: str,
        schedulers: SchedulerAddresses,
        *,
        freshness: TableFreshness,
        search: SchedulerSearch,
        on_table: OnTable,
    ) -> None:
        self._gateway = gateway
        self._schedulers = schedulers
        self._scheduler = ""
        self._freshness = freshness
        self._search = search
        self._on_table = on_table
        self._table: RoutingTable | None = None

    @property
    def table(self) -> RoutingTable | None:
        """The table in force; None before the first one came."""
        return self._table

    @property
    def scheduler(self) -> str:
        """HOST:PORT of the scheduler that is followed, else of the last one, else of the next one.

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
        """Follows a scheduler, one after another, until it is cancelled."""
        async with Channels() as channels:
            while True:
                known = await self._schedulers.wait_any()
                self._scheduler = _after(self._scheduler, known)
                error, was_found = await self._follow(MeshStub(channels.to(self._scheduler)))
                self._search.failed(self._scheduler, error)
                if was_found:
                    self._set_followed(False)
                    _log.warning("scheduler_lost", scheduler=self._scheduler, why=error.message)
                await asyncio.sleep(WATCH_RETRY_S)

    def _set_followed(self, followed: bool) -> None:
        if followed:
            self._freshness.stream_followed()
            self._search.found()
        else:
            self._freshness.stream_lost()
            self._search.lost()

    async def _follow(self, stub: MeshStub) -> tuple[MeshError, bool]:
        """Applies tables until the stream ends; returns why it ended, and whether it had begun."""
        found = False
        while True:
            # A call that waited for the connection would not report why there is none.
            call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._gateway), wait_for_ready=False)
            applied_epoch: int | None = None
            try:
                async for update in call:
                    if not found:
                        _log.info("scheduler_found", scheduler=self._scheduler)
                        found = True
                    step = next_step(
                        update, None if self._table is None else self._table.epoch, applied_epoch
                    )
                    if step is Step.RESYNC:
                        _log.info("route_change_missed", epoch=update.change.from_epoch, held=applied_epoch)
                        break
                    applied_epoch = await self._apply(update, step)
                    self._set_followed(applied_epoch is not None)
                else:
                    return Unavailable("the stream ended"), found
            except grpc.aio.AioRpcError as error:
                return from_rpc_error(error), found
            finally:
                call.cancel()
            # A new stream of the same scheduler begins with the whole table.
            self._set_followed(False)
            await asyncio.sleep(WATCH_RETRY_S)

    async def _apply(self, update: RouteUpdate, step: Step) -> int | None:
        """Applies a message; returns the epoch of the stream's table, None if it was not accepted."""
        held = self._table
        try:
            if step is Step.WHOLE:
                table = RoutingTable.from_proto(update.whole)
                changes = difference(held or EMPTY_TABLE, table)
            elif step is Step.CHANGE and held is not None:
                table = held.apply(update.change)
                changes = difference(held, table, update.change)
            else:
                _log.info("route_table_outdated", epoch=update.whole.epoch or update.change.epoch)
                return None
        except ValueError as error:
            # A scheduler of a later release; the table in force stays.
            _log.error("route_table_refused", error=str(error))
            return None
        self._table = table
        await self._on_table(table, changes)
        return table.epoch


def _after(address: str, known: Sequence[str]) -> str:
    """Returns the address after one in a list, the first after the last; the first if it is not in the list."""
    return known[(known.index(address) + 1) % len(known)] if address in known else known[0]

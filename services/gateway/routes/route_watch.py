"""The scheduler's route table, followed for as long as the gateway runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc.aio
import structlog

from onnxmesh.discovery.scheduler_addresses import ConfiguredSchedulers, SchedulerAddresses
from onnxmesh.errors import Unavailable
from onnxmesh.routing.table.route_step import Step, next_step
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference, difference
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.v1.mesh_pb2 import RouteUpdate, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.gateway.routes.scheduler_contact import SchedulerContact

RETRY_S = 0.2
"""Time between two attempts to reach the scheduler."""

OnTable = Callable[[RoutingTable, TableDifference], Awaitable[None]]
"""Takes a new table."""

_log = structlog.get_logger(__name__)


class RouteWatch:
    """Holds the newest route table; the last one stays in force while no scheduler answers.

    Args:
        gateway: This gateway's id.
        schedulers: Where the schedulers are; when one is lost, the next one is followed.
        contact: Is told whether one is followed: one whose tables are not taken is not.
        on_table: Awaited with each new table, and what is other in it, before the next one is read.
    """

    def __init__(
        self, gateway: str, schedulers: SchedulerAddresses, contact: SchedulerContact, on_table: OnTable
    ) -> None:
        self._gateway = gateway
        self._schedulers = schedulers
        self._scheduler = ""
        self._contact = contact
        self._on_table = on_table
        self._table: RoutingTable | None = None

    @property
    def table(self) -> RoutingTable | None:
        """The table in force; None before the first one came."""
        return self._table

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
                known = await self._schedulers.wait_any()
                self._scheduler = _after(self._scheduler, known)
                # Only one that has no substitute is waited for.
                alone = isinstance(self._schedulers, ConfiguredSchedulers) and len(known) == 1
                why = await self._follow(MeshStub(channels.to(self._scheduler)), wait=alone)
                if why is not None:
                    self._contact.lost()
                    _log.warning("scheduler_lost", scheduler=self._scheduler, why=why)
                await asyncio.sleep(RETRY_S)

    async def _follow(self, stub: MeshStub, *, wait: bool) -> str | None:
        """Takes tables until the stream ends; returns why it did, None if it had not begun."""
        found = False
        while True:
            call = stub.WatchRoutes(WatchRoutesRequest(gateway=self._gateway), wait_for_ready=wait)
            taken: int | None = None
            try:
                async for update in call:
                    if not found:
                        _log.info("scheduler_found", scheduler=self._scheduler)
                        found = True
                    step = next_step(update, None if self._table is None else self._table.epoch, taken)
                    if step is Step.RESYNC:
                        _log.info("route_change_missed", epoch=update.change.from_epoch, held=taken)
                        break
                    taken = await self._take(update, step)
                    if taken is not None:
                        self._contact.made()
                    else:
                        self._contact.lost()
                else:
                    return "the stream ended" if found else None
            except grpc.aio.AioRpcError as error:
                return f"{error.code().name}: {error.details()}" if found else None
            finally:
                call.cancel()
            # The same scheduler tells the whole table at the beginning of a stream, if it is there by then.
            self._contact.lost()
            await asyncio.sleep(RETRY_S)

    async def _take(self, update: RouteUpdate, step: Step) -> int | None:
        """Takes a message; returns the epoch up to which the stream is taken by that, None if it is not."""
        held = self._table
        try:
            if step is Step.WHOLE:
                table = RoutingTable.from_proto(update.whole)
                news = difference(held or EMPTY_TABLE, table)
            elif step is Step.CHANGE and held is not None:
                table = held.apply(update.change)
                news = difference(held, table, update.change)
            else:
                _log.info("route_table_outdated", epoch=update.whole.epoch or update.change.epoch)
                return None
        except ValueError as error:
            # A scheduler of a later release; what is served is served on.
            _log.error("route_table_refused", error=str(error))
            return None
        self._table = table
        await self._on_table(table, news)
        return table.epoch


def _after(address: str, known: Sequence[str]) -> str:
    """Returns the address that follows one in a list, in a circle; the first if it is not there."""
    return known[(known.index(address) + 1) % len(known)] if address in known else known[0]

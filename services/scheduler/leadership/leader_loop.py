"""One scheduler of several: it leads, or it follows the one that does."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.leadership.base import Candidacy, LeaderStatus
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer, MeshStub
from services.scheduler.leadership.leader_context import LeaderContext, SharedResources, leader_context
from services.scheduler.publishing.route_relay import RouteRelay

EPOCHS_OF_A_TERM = 2**20
"""Route tables that one leader can publish before its epochs reach those of the next."""

_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class LeaderLoop:
    """Takes office when this scheduler is elected, and follows the leader when it is not.

    Args:
        shared: What an office builds on.
        candidacy: Who leads.
        relay: Is given the route tables of whoever leads.
        channels: To the other schedulers.
    """

    def __init__(
        self, shared: SharedResources, candidacy: Candidacy, relay: RouteRelay, channels: Channels
    ) -> None:
        self._shared = shared
        self._candidacy = candidacy
        self._relay = relay
        self._channels = channels
        self._office: LeaderContext | None = None

    @property
    def office(self) -> LeaderContext | None:
        """What this scheduler leads with; None while it does not."""
        return self._office

    def leading(self) -> MeshServicer | None:
        """Returns what serves while this scheduler leads; None while it does not."""
        return None if self._office is None else self._office.servicer

    def leader(self) -> str:
        """Returns the address of the scheduler that leads.

        Raises:
            Unavailable: Nobody does, or this one is only taking office (UNAVAILABLE).
        """
        leader = self._candidacy.standing.leader
        if leader is None or leader.address == self._shared.address:
            raise Unavailable("no scheduler leads right now: try again", retry_after_s=1.0)
        return leader.address

    async def run(self) -> None:
        """Leads and follows until it is cancelled."""
        revision, standing = await self._candidacy.after(0)
        while True:
            async with asyncio.TaskGroup() as group:
                acting = group.create_task(self._act(standing))
                revision, standing = await self._candidacy.after(revision)
                acting.cancel()

    async def _act(self, standing: LeaderStatus) -> None:
        if standing.leads:
            while True:
                try:
                    await self._lead(standing.term)
                except MeshError as error:
                    _log.error("office_lost", term=standing.term, error=error.message)
                    await asyncio.sleep(_RETRY_S)
        elif standing.leader is not None:
            _log.info("following", leader=standing.leader.id, term=standing.term)
            await self._relay.follow(MeshStub(self._channels.to(standing.leader.address)))

    async def _lead(self, term: int) -> None:
        async with leader_context(self._shared, term, term * EPOCHS_OF_A_TERM) as office:
            self._office = office
            _log.info("in_office", term=term)
            try:
                async for table in office.publisher.tables():
                    self._relay.take(table)
            finally:
                self._office = None
                self._relay.mark_orphaned()

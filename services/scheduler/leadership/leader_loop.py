"""The leader loop of a scheduler in a highly available group: it leads, or it follows the leader."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.leadership.base import Candidate, LeaderStatus
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer, MeshStub
from services.scheduler.leadership.leader_context import LeaderContext, leader_context
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.publishing.route_relay import RouteRelay

EPOCHS_OF_A_TERM = 2**20
"""Route tables that one leader can publish before its epochs reach those of the next."""

_RETRY_S = 1.0

_log = structlog.get_logger(__name__)


class LeaderLoop:
    """Leads when this scheduler is elected, and follows the leader when it is not.

    Args:
        shared: What outlives a term.
        candidate: Who leads.
        relay: Receives the route tables of the leader, this scheduler or another.
        channels: To the other schedulers.
    """

    def __init__(
        self, shared: SharedResources, candidate: Candidate, relay: RouteRelay, *, channels: Channels
    ) -> None:
        self._shared = shared
        self._candidate = candidate
        self._relay = relay
        self._channels = channels
        self._context: LeaderContext | None = None

    @property
    def context(self) -> LeaderContext | None:
        """The term under way; None while this scheduler does not lead."""
        return self._context

    def servicer(self) -> MeshServicer | None:
        """Returns the service of the term under way; None while this scheduler does not lead."""
        return None if self._context is None else self._context.servicer

    def leader(self) -> str:
        """Returns the address of the leader, another scheduler.

        Raises:
            Unavailable: There is no leader, or this scheduler is just starting its term (UNAVAILABLE).
        """
        leader = self._candidate.status.leader
        if leader is None or leader.address == self._shared.address:
            raise Unavailable("no scheduler leads right now: try again", retry_after_s=1.0)
        return leader.address

    async def run(self) -> None:
        """Leads and follows until it is cancelled."""
        revision, status = await self._candidate.after(0)
        while True:
            async with asyncio.TaskGroup() as group:
                acting = group.create_task(self._act(status))
                revision, status = await self._candidate.after(revision)
                acting.cancel()

    async def _act(self, status: LeaderStatus) -> None:
        if status.is_leader:
            while True:
                try:
                    await self._lead(status.term)
                except MeshError as error:
                    _log.error("term_failed", term=status.term, error=error.message)
                    await asyncio.sleep(_RETRY_S)
        elif status.leader is not None:
            _log.info("following", leader=status.leader.id, term=status.term)
            await self._relay.follow(MeshStub(self._channels.to(status.leader.address)))

    async def _lead(self, term: int) -> None:
        async with leader_context(self._shared, term, term * EPOCHS_OF_A_TERM) as context:
            self._context = context
            _log.info("term_started", term=term)
            try:
                async for table in context.publisher.tables():
                    self._relay.accept(table)
            finally:
                self._context = None
                self._relay.mark_orphaned()

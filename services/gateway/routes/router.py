"""Routing of requests: picks routes by the table in force, and feeds the balancer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.routing.balancer import Balancer, Route, Ticket
from onnxmesh.routing.ejections import Ejections
from onnxmesh.routing.explanation import Explanation
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.selector import Selector
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import UNKNOWN_LOCALITY, Locality
from onnxmesh.routing.table.routed_model import Replica, RoutedModel, RoutedStage
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference
from onnxmesh.v1.frame_pb2 import HopTiming, Load
from services.gateway.requests.attempts import AttemptFailure, AttemptResult
from services.gateway.requests.final_error import (
    deadline_unreachable,
    requirements_unsatisfied,
    routes_exhausted,
)
from services.gateway.requests.inference_request import InferenceRequest
from services.gateway.requests.worker_links import WorkerLinks
from services.gateway.routes.dialling import dial_any
from services.gateway.routes.session_affinity import SessionAffinity
from services.gateway.routes.worker_loads import report_load, report_timings, report_waits

PickedRoute = tuple[RoutedModel, Route]
"""A route, and the model as it was when the route was picked."""

_log = structlog.get_logger(__name__)


class Router:
    """Picks a route for each attempt, and learns from reports of workers and outcomes of attempts.

    Belongs to one event loop.

    Attributes:
        table: The route table in force.
        home: This gateway as the origin of links.
        balancer: The routing policy and its state.
        sessions: The workers of sessions.

    Args:
        gateway: Id of this gateway.
        links: Streams to workers.
        rng: Draws the choices among replicas.
        locality: Region and zone of this gateway.
        sessions: The workers of sessions; None: shared with no other gateway.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        gateway: str,
        links: WorkerLinks,
        *,
        rng: Random,
        locality: Locality = UNKNOWN_LOCALITY,
        sessions: SessionAffinity | None = None,
        clock: Clock = monotonic,
    ) -> None:
        self._links = links
        self._clock = clock
        self._changed = asyncio.Event()
        self.table = EMPTY_TABLE
        self.home = Origin(gateway, locality)
        self.balancer = Balancer(self.home, rng)
        self.sessions = sessions or SessionAffinity(EmbeddedLiveState(gateway, clock=clock))

    @property
    def num_ejected(self) -> int:
        """Replicas that are ejected now. May be read from any thread."""
        return self.balancer.num_ejected(self._clock())

    @property
    def ejections(self) -> Ejections:
        """The ejections of replicas."""
        return self.balancer.ejections

    def generation(self, worker: WorkerId) -> int | None:
        """Returns the generation of a worker in the route table; None where the table does not have it."""
        member = self.table.workers.get(worker)
        return None if member is None else member.generation

    def update(self, table: RoutingTable, changes: TableDifference) -> None:
        """Applies a new route table.

        Args:
            table: The table in force from now on.
            changes: Its difference from the previous one.
        """
        for worker, member in changes.workers.items():
            if self.generation(worker) not in (None, member.generation):
                self.balancer.network.remove(worker)
        self.table = table
        self.balancer.remove(changes.removed_stages, changes.removed_workers)
        self._changed.set()
        self._changed = asyncio.Event()

    async def newer_than(self, table: RoutingTable, within_s: float) -> bool:
        """Waits for another table than `table`; returns False if there is none within `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                while self.table is table:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def explain(
        self, model: RoutedModel, query: RouteQuery, locality: Locality | None = None, session: str = ""
    ) -> list[Explanation]:
        """Explains how a request would be routed now.

        Args:
            model: The model of the request.
            query: Its constraints.
            locality: Where it would come from; None: from this gateway.
            session: Its session; empty: none.
        """
        origin = None if locality is None else Origin("", locality)
        query = replace(query, affinity=await self.sessions.workers(model, session))
        return self.balancer.explain(model.stages, self._is_live, self._clock(), query, origin)

    async def route(
        self,
        request: InferenceRequest,
        excluded: set[WorkerId],
        session_workers: Mapping[StageKey, WorkerId],
    ) -> PickedRoute:
        """Picks a route over the model's stages as they are now; dials where a stage has replicas but no stream to any.

        Args:
            request: The request; failures of dialling are added to its own.
            excluded: Workers that it failed on; those that cannot be reached are added.
            session_workers: The workers that served its session last.

        Raises:
            Unavailable: A stage has no live replica, or none is left that did not fail (UNAVAILABLE).
            Unsatisfiable: No worker of a stage meets the requirements (FAILED_PRECONDITION).
            DeadlineExceeded: No replica would be done in time (DEADLINE_EXCEEDED).
        """
        options = request.options
        while True:
            # Looked up each time: the table may have changed while workers were dialled.
            model = self.table.get(request.model.name, request.model.version)
            if model is None:
                raise routes_exhausted(f"{request.model} is no longer deployed", request.failures)
            if model.gap is not None:
                raise routes_exhausted(f"{model}: stage {model.gap} has no live replica", request.failures)
            now_s = self._clock()
            query = RouteQuery(
                excluded=excluded,
                require=options.require,
                prefer=options.prefer,
                remaining_s=request.deadline.remaining_s(self._clock),
                num_bytes=request.num_bytes,
                affinity=session_workers,
            )
            picked = self.balancer.pick_route(model.stages, self._is_live, now_s, query)
            if not isinstance(picked, NoRoute):
                return model, picked
            if picked.is_unsatisfiable:
                raise requirements_unsatisfied(model, picked)
            if picked.is_late:
                raise deadline_unreachable(model, picked, request.failures)
            if self.balancer.release_ejections(picked, now_s):
                continue
            candidates = _candidates(model.stages[picked.stage], options.require, excluded)
            await self._connect(candidates, excluded, request.failures)
            if all(replica.worker in excluded for replica in candidates):
                raise routes_exhausted(
                    f"{model}: stage {picked.stage} has no live replica left", request.failures
                )

    def are_live(self, route: Route) -> bool:
        """Whether frames can be sent to every worker of a route."""
        return all(self._is_live(replica.worker) for replica in route)

    def begin(self, model: RoutedModel, route: Route) -> Ticket:
        """Records the start of an attempt; pass its ticket to `end` whatever the outcome."""
        return self.balancer.begin(model.stages, route, self._clock())

    def end(self, ticket: Ticket, timings: Iterable[HopTiming]) -> None:
        """Records the end of an attempt.

        Args:
            ticket: Of the attempt.
            timings: Of the hops of its result; empty without one.
        """
        self.balancer.end(ticket)
        report_waits(self.balancer, timings, self.table.workers, self._clock())

    def record_outcome(
        self, outcome: AttemptResult | AttemptFailure, route: Route, model: RoutedModel, ticket: Ticket
    ) -> None:
        """Records the outcome of an attempt in the balancer, before its ticket ends."""
        now_s = self._clock()
        if isinstance(outcome, AttemptResult):
            for worker, stage in report_timings(
                self.balancer, outcome.frame.header.result.timings, ticket, now_s
            ).items():
                _log.warning("replica_ejected", worker=worker, stage=stage, why="far slower than its peers")
        elif outcome.counts_against_replica:
            held = [
                stage.key
                for stage, replica in zip(model.stages, route, strict=True)
                if replica.worker == outcome.worker
            ]
            for key in self.balancer.observe_failure(outcome.worker, held, now_s):
                _log.warning("replica_ejected", worker=outcome.worker, stage=key, why=outcome.error.message)

    def observe_load(self, worker: WorkerId, load: Load) -> None:
        """Records a worker's report of its load, received by this gateway or by another one."""
        if worker in self.table.workers:
            report_load(self.balancer, worker, load, self._clock())

    def observe_link(self, origin: str, worker: WorkerId, link: MeasuredLink) -> None:
        """Records a measured link to a worker, from this gateway or from another worker."""
        if worker in self.table.workers:
            self.balancer.network.observe(origin, worker, link)

    def lost(self, worker: WorkerId) -> None:
        """Records the end of the stream to a worker."""
        if worker in self.table.workers:
            self.balancer.mark_lost(worker)

    def suspect(self, worker: WorkerId, suspected: bool) -> None:
        """Records that the failure detector suspects a worker, or no longer does."""
        if worker in self.table.workers:
            self.balancer.mark_suspect(worker, suspected)

    def _is_live(self, worker: WorkerId) -> bool:
        return self._links.get(worker) is not None

    async def _connect(
        self, candidates: Sequence[Replica], excluded: set[WorkerId], failures: list[AttemptFailure]
    ) -> None:
        """Dials until the worker of one replica is connected; those that cannot be reached are excluded."""
        for worker, error in (await dial_any(self._links, candidates)).items():
            failures.append(AttemptFailure(error=error, worker=worker, retriable=True))
            excluded.add(worker)


def _candidates(stage: RoutedStage, require: Selector, excluded: set[WorkerId]) -> list[Replica]:
    """Returns the replicas that the request may use and has not failed on."""
    return [
        replica
        for replica in stage.replicas
        if replica.worker not in excluded and require.selects(replica.facts.labels)
    ]

"""Routes over the workers of the route table, and what is known of these."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.embedded import OwnLiveState
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
from services.gateway.batching.micro_batcher import MicroBatcher
from services.gateway.requests.attempts import AttemptFailure, AttemptResult
from services.gateway.requests.final_error import gave_up, too_late, unsatisfiable
from services.gateway.requests.inference_request import InferenceRequest
from services.gateway.requests.peers import Peers
from services.gateway.routes.dialling import dial_any
from services.gateway.routes.sessions import Sessions
from services.gateway.routes.worker_loads import report_load, report_timings, report_waits

_log = structlog.get_logger(__name__)


class Router:
    """Picks routes by the table in force, and learns from what workers say and what becomes of requests.

    Belongs to one event loop.

    Attributes:
        table: The route table in force.
        balancer: The policy with its memory.
        sessions: Where sessions are.
        micro_batcher: Cuts requests with many rows.

    Args:
        gateway: This gateway's id.
        peers: Streams to workers.
        rng: Draws the choices among replicas.
        locality: Where this gateway is.
        sessions: Where sessions are; None: nobody else is told.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        gateway: str,
        peers: Peers,
        *,
        rng: Random,
        locality: Locality = UNKNOWN_LOCALITY,
        sessions: Sessions | None = None,
        clock: Clock = monotonic,
    ) -> None:
        self._peers = peers
        self._clock = clock
        self._changed = asyncio.Event()
        self.table = EMPTY_TABLE
        home = Origin(gateway, locality)
        self.balancer = Balancer(home, rng)
        self.micro_batcher = MicroBatcher(home, self.balancer.network)
        self.sessions = sessions or Sessions(OwnLiveState(gateway, clock=clock))

    @property
    def num_ejected(self) -> int:
        """Replicas that are left alone now. May be asked from any thread."""
        return self.balancer.num_ejected(self._clock())

    @property
    def ejections(self) -> Ejections:
        """Who is kept out of routes."""
        return self.balancer.ejections

    def generation(self, worker: WorkerId) -> int | None:
        """Returns which start of a worker the route table names; None where it does not name it."""
        member = self.table.workers.get(worker)
        return None if member is None else member.generation

    def update(self, table: RoutingTable, news: TableDifference) -> None:
        """Takes a new route table.

        Args:
            table: Is in force from now on.
            news: What is other in it than in the one before.
        """
        for worker, member in news.workers.items():
            if self.generation(worker) not in (None, member.generation):
                self.balancer.network.remove(worker)
        self.table = table
        self.balancer.remove(news.removed_stages, news.removed_workers)
        self.micro_batcher.forget(news.removed_stages, news.removed_workers)
        self._changed.set()
        self._changed = asyncio.Event()

    async def newer_than(self, table: RoutingTable, within_s: float) -> bool:
        """Returns whether there is another table than this one, or soon is."""
        try:
            async with asyncio.timeout(within_s):
                while self.table is table:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    async def explain(
        self, model: RoutedModel, ask: RouteQuery, locality: Locality | None = None, session: str = ""
    ) -> list[Explanation]:
        """Says how a request would be routed now, and why.

        Args:
            model: What it would run.
            ask: What it would want.
            locality: Where it would come from; None: from this gateway.
            session: Which session it would belong to; empty: to none.
        """
        origin = None if locality is None else Origin("", locality)
        ask = replace(ask, affinity=await self.sessions.places(model, session))
        return self.balancer.explain(model.stages, self._is_live, self._clock(), ask, origin)

    async def route(
        self,
        order: InferenceRequest,
        excluded: set[WorkerId],
        failures: list[AttemptFailure],
        stay: Mapping[StageKey, WorkerId],
    ) -> tuple[RoutedModel, Route]:
        """Picks a route over the model's stages as they are now; dials where a stage has replicas but no stream to any.

        Args:
            order: The request.
            excluded: Workers that it failed on; those that cannot be reached are added.
            failures: What it met with; what comes of dialling is added.
            stay: Where its session is.

        Raises:
            Unavailable: A stage has no live replica, or none is left that did not fail (UNAVAILABLE).
            Unsatisfiable: No worker of a stage meets what the request requires (FAILED_PRECONDITION).
            Overloaded: No replica would be done in time (RESOURCE_EXHAUSTED).
        """
        while True:
            # Read anew each time: the table may have changed while workers were dialled.
            model = self.table.get(order.model.name, order.model.version)
            if model is None:
                raise gave_up(f"{order.model} is no longer deployed", failures)
            if model.gap is not None:
                raise gave_up(f"{model}: stage {model.gap} has no live replica", failures)
            now_s = self._clock()
            ask = RouteQuery(
                excluded=excluded,
                require=order.require,
                prefer=order.prefer,
                remaining_s=order.deadline.remaining_s(self._clock),
                num_bytes=order.num_bytes,
                affinity=stay,
            )
            picked = self.balancer.pick_route(model.stages, self._is_live, now_s, ask)
            if not isinstance(picked, NoRoute):
                return model, picked
            if picked.is_unsatisfiable:
                raise unsatisfiable(model, picked)
            if picked.is_late:
                raise too_late(model, picked, failures)
            if self.balancer.release_ejections(picked, now_s):
                continue
            candidates = _left(model.stages[picked.stage], order.require, excluded)
            await self._reach(candidates, excluded, failures)
            if all(replica.worker in excluded for replica in candidates):
                raise gave_up(f"{model}: stage {picked.stage} has no live replica left", failures)

    def are_live(self, route: Route) -> bool:
        """Whether frames can be sent to every worker of a route."""
        return all(self._is_live(replica.worker) for replica in route)

    def begin(self, model: RoutedModel, route: Route) -> Ticket:
        """Takes that an attempt sets out on a route; `end` its ticket whatever becomes of it."""
        return self.balancer.begin(model.stages, route, self._clock())

    def end(self, ticket: Ticket, timings: Iterable[HopTiming]) -> None:
        """Takes that an attempt is over.

        Args:
            ticket: Of the attempt.
            timings: What its hops said of their workers' work; empty if it was not answered.
        """
        self.balancer.end(ticket)
        report_waits(self.balancer, timings, self.table.workers, self._clock())

    def learn(
        self, outcome: AttemptResult | AttemptFailure, route: Route, model: RoutedModel, ticket: Ticket
    ) -> None:
        """Tells the policy how an attempt ended, before its ticket ends."""
        now_s = self._clock()
        if isinstance(outcome, AttemptResult):
            for worker, stage in report_timings(
                self.balancer, outcome.frame.header.result.timings, ticket, now_s
            ).items():
                _log.warning("replica_ejected", worker=worker, stage=stage, why="far slower than its peers")
        elif outcome.speaks_against:
            held = [
                stage.key
                for stage, replica in zip(model.stages, route, strict=True)
                if replica.worker == outcome.worker
            ]
            for key in self.balancer.observe_failure(outcome.worker, held, now_s):
                _log.warning("replica_ejected", worker=outcome.worker, stage=key, why=outcome.error.message)

    def observe_load(self, worker: WorkerId, load: Load) -> None:
        """Takes a worker's report of its load, said to this gateway or to another."""
        if worker in self.table.workers:
            report_load(self.balancer, worker, load, self._clock())

    def observe_link(self, origin: str, worker: WorkerId, way: MeasuredLink) -> None:
        """Takes what was measured of the way to a worker, from this gateway or from another worker."""
        if worker in self.table.workers:
            self.balancer.network.observe(origin, worker, way)

    def lost(self, worker: WorkerId) -> None:
        """Takes the end of the stream to a worker."""
        if worker in self.table.workers:
            self.balancer.mark_lost(worker)

    def _is_live(self, worker: WorkerId) -> bool:
        return self._peers.get(worker) is not None

    async def _reach(
        self, candidates: Sequence[Replica], excluded: set[WorkerId], failures: list[AttemptFailure]
    ) -> None:
        """Returns once a replica's worker is linked; those that cannot be are excluded."""
        for worker, error in (await dial_any(self._peers, candidates)).items():
            failures.append(AttemptFailure(error, worker, retriable=True))
            excluded.add(worker)


def _left(stage: RoutedStage, require: Selector, excluded: set[WorkerId]) -> list[Replica]:
    """Returns the replicas that the request may use and has not failed on."""
    return [
        replica
        for replica in stage.replicas
        if replica.worker not in excluded and require.selects(replica.facts.labels)
    ]

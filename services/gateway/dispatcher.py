"""Requests to workers: routes, attempts, retries, deadlines, cancellation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import CorruptData, DeadlineExceeded, Internal, StageGone, Unavailable, from_reason
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.routing.balancer import Balancer, NoRoute, Route, Ticket
from onnxmesh.routing.ejections import Ejections
from onnxmesh.routing.explanation import Explanation
from onnxmesh.routing.locality import NOWHERE, Locality
from onnxmesh.routing.network import Measured
from onnxmesh.routing.policy import Ask
from onnxmesh.routing.selector import Selector
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table import EMPTY_TABLE, Replica, RoutedModel, RoutedStage, RoutingTable
from onnxmesh.routing.table_difference import TableDifference, difference
from onnxmesh.rpc.frames import Frame
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.gateway.activation import activation_frames
from services.gateway.attempts import Arrival, Attempt, Attempts, Setback
from services.gateway.dialling import dial_any
from services.gateway.moving import may_move
from services.gateway.order import Answer, Order
from services.gateway.peers import Peer, Peers
from services.gateway.sessions import Sessions
from services.gateway.setbacks import gave_up, too_late, unsatisfiable
from services.gateway.trace import Trace
from services.gateway.worker_loads import report_load, report_timings, report_waits

TABLE_WAIT_S = 5.0
"""How long a request waits for the table that tells where a stage went, before it takes its worker for lost."""

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Gets requests answered by the workers of the route table. Belongs to one event loop.

    Args:
        gateway: This gateway's id.
        peers: Streams to workers; they must hand what happens on them to `on_frame`, `on_lost` and
            `on_silence`.
        max_attempts: Routes that are tried for one request.
        rng: Draws the choices among replicas.
        locality: Where this gateway is.
        sessions: Where sessions are; None: nobody else is told.
        clock: Seconds, monotonic.
        unix_ns: Nanoseconds of Unix time, for traces.
        first_number: Number of the first request; those of an earlier process of this id have to be below it.
    """

    def __init__(
        self,
        gateway: str,
        peers: Peers,
        *,
        max_attempts: int,
        rng: Random,
        locality: Locality = NOWHERE,
        sessions: Sessions | None = None,
        clock: Clock = monotonic,
        unix_ns: Callable[[], int] = time_ns,
        first_number: int = 1,
    ) -> None:
        self._peers = peers
        self._max_attempts = max_attempts
        self._clock = clock
        self._unix_ns = unix_ns
        self._table = EMPTY_TABLE
        self._table_changed = asyncio.Event()
        self._numbers = itertools.count(first_number)
        self._attempts = Attempts(gateway)
        self._num_retried = 0
        self._balancer = Balancer(Origin(gateway, locality), rng)
        self._sessions = sessions or Sessions(OwnLiveState(gateway, clock=clock))

    @property
    def num_in_flight(self) -> int:
        """Attempts that wait for an answer."""
        return len(self._attempts)

    @property
    def num_retried(self) -> int:
        """Attempts since the start that followed another one of the same request."""
        return self._num_retried

    @property
    def num_ejected(self) -> int:
        """Replicas that are left alone now. May be asked from any thread."""
        return self._balancer.num_ejected(self._clock())

    @property
    def ejections(self) -> Ejections:
        """Who is kept out of routes."""
        return self._balancer.ejections

    def generation(self, worker: WorkerId) -> int | None:
        """Returns which start of a worker the route table names; None where it does not name it."""
        member = self._table.workers.get(worker)
        return None if member is None else member.generation

    async def infer(self, order: Order) -> Answer:
        """Runs one request to its end; retries it on another route where that makes sense.

        Raises:
            Unavailable: A stage has no live replica, or none is left that did not fail (UNAVAILABLE).
            Unsatisfiable: No worker of a stage meets what the request requires (FAILED_PRECONDITION).
            Overloaded: Every replica refused for want of room, or none would be done in time (RESOURCE_EXHAUSTED).
            DeadlineExceeded: The deadline passed first (DEADLINE_EXCEEDED).
            MeshError: What a worker said, where another route would say the same.
        """
        began = self._clock()
        setbacks: list[Setback] = []
        remaining_s = order.deadline.remaining_s(self._clock)
        try:
            if remaining_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(remaining_s):
                return await self._try_routes(order, setbacks, began)
        except TimeoutError:
            tried = f" after {len(setbacks)} failed attempts" if setbacks else ""
            raise DeadlineExceeded(f"{order.model}: the deadline passed before the answer{tried}") from None

    async def explain(
        self, model: RoutedModel, ask: Ask, locality: Locality | None = None, session: str = ""
    ) -> list[Explanation]:
        """Says how a request would be routed now, and why.

        Args:
            model: What it would run.
            ask: What it would want.
            locality: Where it would come from; None: from this gateway.
            session: Which session it would belong to; empty: to none.
        """
        origin = None if locality is None else Origin("", locality)
        ask = replace(ask, stay=await self._sessions.places(model, session))
        return self._balancer.explain(model.stages, self._is_live, self._clock(), ask, origin)

    def update(self, table: RoutingTable, news: TableDifference | None = None) -> None:
        """Takes a new route table; attempts on workers that it no longer knows of fail at once.

        Args:
            table: Is in force from now on.
            news: What is other in it than in the one before; None: that is found out.
        """
        if news is None:
            news = difference(self._table, table)
        for worker, member in news.workers.items():
            if self.generation(worker) not in (None, member.generation):
                self._balancer.network.forget(worker)
        self._table = table
        for worker in news.gone_workers:
            self._fail(worker, f"worker '{worker}' left the mesh")
        for worker, member in news.workers.items():
            link = self._peers.get(worker)
            if link is not None and link.generation < member.generation:
                self._fail(worker, f"worker '{worker}' was started anew")
                link.leave()
        self._balancer.forget(news.gone_stages, news.gone_workers)
        self._peers.keep(
            {worker: member.address for worker, member in news.workers.items()}, news.gone_workers
        )
        self._table_changed.set()
        self._table_changed = asyncio.Event()

    def on_frame(self, worker: WorkerId, frame: Frame) -> None:
        """Takes what a worker said. Never raises, never blocks."""
        header = frame.header
        kind = header.WhichOneof("kind")
        known = True
        if kind == "result":
            known = self._attempts.settle(header.result.key, Arrival(frame, self._unix_ns()))
        elif kind == "failure":
            known = self._attempts.settle(header.failure.key, _setback(header.failure, worker))
        elif kind == "load":
            self.hear_load(worker, header.load)
        else:
            _log.warning("unexpected_frame", worker=worker, kind=kind)
        if not known:
            _log.debug("stale_answer", worker=worker, kind=kind)

    def hear_load(self, worker: WorkerId, load: frame_pb2.Load) -> None:
        """Takes a worker's report of its load, said to this gateway or to another."""
        if worker in self._table.workers:
            report_load(self._balancer, worker, load, self._clock())

    def hear_way(self, origin: str, worker: WorkerId, way: Measured) -> None:
        """Takes what was measured of the way to a worker, from this gateway or from another worker."""
        if worker in self._table.workers:
            self._balancer.network.measured(origin, worker, way)

    def on_lost(self, worker: WorkerId, link: Peer) -> None:
        """Takes the end of a stream: attempts that rely on it fail at once."""
        num_failed = self._attempts.fail_link(
            worker, link, Unavailable(f"the stream to worker '{worker}' was lost")
        )
        if worker in self._table.workers:
            self._balancer.lost(worker)
        if num_failed:
            _log.warning("attempts_failed", worker=worker, num_attempts=num_failed)

    def on_silence(self, worker: WorkerId, link: Peer) -> None:
        """Takes that a stream has become silent, or is heard again.

        New requests go elsewhere meanwhile, and those under way there are tried again where that makes sense: of a
        way that was cut nobody is told before the silence limit.
        """
        if worker not in self._table.workers or self._peers.get(worker) is not link:
            return
        self._balancer.silent(worker, link.is_silent)
        if link.is_silent:
            num_moved = self._attempts.move(
                worker,
                link,
                Unavailable(f"worker '{worker}' has fallen silent"),
                lambda attempt: may_move(attempt, worker, self._peers, self._max_attempts),
            )
            if num_moved:
                _log.warning("attempts_moved", worker=worker, num_attempts=num_moved)

    async def _try_routes(self, order: Order, setbacks: list[Setback], began: float) -> Answer:
        number = next(self._numbers)
        excluded: set[WorkerId] = set()
        num_failed = 0
        stay = await self._sessions.places(order.model, order.session)
        for index in itertools.count():
            model, route = await self._route(order, excluded, setbacks, stay)
            self._num_retried += index > 0
            table = self._table
            outcome = await self._attempt(order, number, index, model, route)
            if isinstance(outcome, Arrival):
                self._sessions.served(model, order.session, route)
                return self._answer(outcome, index + 1, began)
            if not outcome.retriable:
                raise outcome.error
            setbacks.append(outcome)
            _log.warning(
                "attempt_failed",
                request_id=order.request_id,
                model=order.model.name,
                attempt=index,
                worker=outcome.worker,
                error=outcome.error.message,
            )
            # The worker is well, and may be the only one for another stage: the route was outdated.
            if isinstance(outcome.error, StageGone) and await self._newer_than(table):
                continue
            if outcome.excludes:
                excluded.add(outcome.worker)
            num_failed += 1
            if num_failed == self._max_attempts:
                break
        raise gave_up(f"{order.model}: gave up after {self._max_attempts} attempts", setbacks)

    async def _newer_than(self, table: RoutingTable) -> bool:
        """Returns whether there is another table than this one, or soon is."""
        try:
            async with asyncio.timeout(TABLE_WAIT_S):
                while self._table is table:
                    await self._table_changed.wait()
        except TimeoutError:
            return False
        return True

    async def _route(
        self,
        order: Order,
        excluded: set[WorkerId],
        setbacks: list[Setback],
        stay: Mapping[StageKey, WorkerId],
    ) -> tuple[RoutedModel, Route]:
        """Picks a route over the model's stages as they are now; dials where a stage has replicas but no stream to any."""
        while True:
            # Read anew each time: the table may have changed while workers were dialled.
            model = self._table.get(order.model.name, order.model.version)
            if model is None:
                raise gave_up(f"{order.model} is no longer deployed", setbacks)
            if model.gap is not None:
                raise gave_up(f"{model}: stage {model.gap} has no live replica", setbacks)
            now_s = self._clock()
            ask = Ask(
                excluded=excluded,
                require=order.require,
                prefer=order.prefer,
                remaining_s=order.deadline.remaining_s(self._clock),
                num_bytes=order.num_bytes,
                stay=stay,
            )
            picked = self._balancer.pick_route(model.stages, self._is_live, now_s, ask)
            if not isinstance(picked, NoRoute):
                return model, picked
            if picked.is_unsatisfiable:
                raise unsatisfiable(model, picked)
            if picked.is_late:
                raise too_late(model, picked, setbacks)
            if self._balancer.release(picked, now_s):
                continue
            candidates = _left(model.stages[picked.stage], order.require, excluded)
            await self._reach(candidates, excluded, setbacks)
            if all(replica.worker in excluded for replica in candidates):
                raise gave_up(f"{model}: stage {picked.stage} has no live replica left", setbacks)

    def _learn(self, outcome: Arrival | Setback, route: Route, model: RoutedModel, ticket: Ticket) -> None:
        """Tells the policy how an attempt ended."""
        now_s = self._clock()
        if isinstance(outcome, Arrival):
            for worker, stage in report_timings(
                self._balancer, outcome.frame.header.result.timings, ticket, now_s
            ).items():
                _log.warning("replica_ejected", worker=worker, stage=stage, why="far slower than its peers")
        elif outcome.speaks_against:
            held = [
                stage.key
                for stage, replica in zip(model.stages, route, strict=True)
                if replica.worker == outcome.worker
            ]
            for key in self._balancer.failed(outcome.worker, held, now_s):
                _log.warning("replica_ejected", worker=outcome.worker, stage=key, why=outcome.error.message)

    def _is_live(self, worker: WorkerId) -> bool:
        return self._peers.get(worker) is not None

    async def _reach(
        self, candidates: Sequence[Replica], excluded: set[WorkerId], setbacks: list[Setback]
    ) -> None:
        """Returns once a replica's worker is linked; those that cannot be are excluded."""
        for worker, error in (await dial_any(self._peers, candidates)).items():
            setbacks.append(Setback(error, worker, retriable=True))
            excluded.add(worker)

    async def _attempt(
        self, order: Order, number: int, index: int, model: RoutedModel, route: Route
    ) -> Arrival | Setback:
        # Nothing was awaited since the workers were picked as live.
        links = tuple(link for replica in route if (link := self._peers.get(replica.worker)) is not None)
        attempt = self._attempts.open(number, index, model.stages, route, links)
        ticket = self._balancer.begin(model.stages, route, self._clock())
        arrived: Arrival | None = None
        over = False
        try:
            remaining_s = order.deadline.remaining_s(self._clock)
            frames = activation_frames(order, attempt.key, model, route, remaining_s, self._unix_ns())
            # One after another: a later hop cannot run before an earlier one has what it needs.
            for hop, frame in frames:
                if attempt.outcome.done():
                    break
                try:
                    await links[hop].send(frame)
                except Unavailable as error:
                    return Setback(error, route[hop].worker, retriable=True)
            outcome = await attempt.outcome
            self._learn(outcome, route, model, ticket)
            arrived = outcome if isinstance(outcome, Arrival) else None
            # A worker that refused for good has told everyone whom it concerns, but not the later hops where
            # inputs wait for what will not come.
            over = isinstance(outcome, Arrival) or not (outcome.retriable or model.inputs_by_hop)
            return outcome
        finally:
            self._attempts.close(attempt)
            self._balancer.end(ticket)
            if arrived is not None:
                timings = arrived.frame.header.result.timings
                report_waits(self._balancer, timings, self._table.workers, self._clock())
            if not over:
                self._cancel(attempt)

    def _cancel(self, attempt: Attempt) -> None:
        header = frame_pb2.FrameHeader(cancel=frame_pb2.Cancel(key=attempt.key))
        for link in dict.fromkeys(attempt.links):
            link.send_soon(header)

    def _answer(self, arrival: Arrival, attempts: int, began: float) -> Answer:
        result = arrival.frame.header.result
        tensors = tuple(
            Tensor(tensor.name, Datatype(tensor.datatype), tuple(tensor.shape), payload)
            for tensor, payload in zip(result.tensors, arrival.frame.payloads, strict=True)
        )
        total_s = self._clock() - began
        trace = Trace.of(total_s, attempts, result.timings, result.sent_unix_ns, arrival.at_unix_ns)
        return Answer(tensors, trace)

    def _fail(self, worker: WorkerId, why: str) -> None:
        if self._attempts.fail_worker(worker, Unavailable(why)):
            _log.warning("attempts_failed", worker=worker, why=why)


def _setback(failure: frame_pb2.Failure, speaker: WorkerId) -> Setback:
    retry_after_s = failure.retry_after_ms / 1e3 or None
    error = from_reason(failure.reason, failure.message, retry_after_s)
    at_fault = WorkerId(failure.worker) if failure.worker else speaker
    # A full queue or an outdated route is no fault, and what the request itself brought about is none of the worker's.
    speaks_against = isinstance(error, Unavailable | CorruptData | Internal) and not isinstance(
        error, StageGone
    )
    return Setback(error, at_fault, failure.retriable, speaks_against=speaks_against)


def _left(stage: RoutedStage, require: Selector, excluded: set[WorkerId]) -> list[Replica]:
    """Returns the replicas that the request may use and has not failed on."""
    return [
        replica
        for replica in stage.replicas
        if replica.worker not in excluded and require.selects(replica.facts.labels)
    ]

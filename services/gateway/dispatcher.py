"""Requests to workers: attempts, retries, deadlines, cancellation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import CorruptData, DeadlineExceeded, Internal, StageGone, Unavailable, from_reason
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.priority import DEFAULT_PRIORITY
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table import RoutedModel, RoutingTable
from onnxmesh.routing.table_difference import TableDifference, difference
from onnxmesh.rpc.compressor import Compressor
from onnxmesh.rpc.credits import LEAST_BYTES
from onnxmesh.rpc.frames import Frame
from onnxmesh.rpc.packed_frames import is_packed
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.gateway.activation import activation_frames
from services.gateway.attempts import Arrival, Attempt, Attempts, Setback
from services.gateway.credit_line import CreditLine
from services.gateway.moving import may_move
from services.gateway.order import Answer, Order
from services.gateway.peers import Peer, Peers
from services.gateway.pieces import rows_of
from services.gateway.router import Router
from services.gateway.row_requests import Picked, RowRequests
from services.gateway.setbacks import gave_up
from services.gateway.trace import Trace

TABLE_WAIT_S = 5.0
"""How long a request waits for the table that tells where a stage went, before it takes its worker for lost."""

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Gets requests answered by the workers of the route table. Belongs to one event loop.

    Args:
        gateway: This gateway's id.
        peers: Streams to workers; they must hand what happens on them to `on_frame`, `on_lost` and
            `on_silence`.
        router: Picks routes over these workers; is told here of all that it is to learn.
        max_attempts: Routes that are tried for one request.
        micro_batches: Whether requests with many rows are cut into micro-batches where that is faster.
        compressor: Writes requests, and reads answers, in fewer bytes where a way is slow; None: a new one.
        clock: Seconds, monotonic.
        unix_ns: Nanoseconds of Unix time, for traces.
        first_number: Number of the first request; those of an earlier process of this id have to be below it.
    """

    def __init__(
        self,
        gateway: str,
        peers: Peers,
        router: Router,
        *,
        max_attempts: int,
        micro_batches: bool = True,
        compressor: Compressor | None = None,
        clock: Clock = monotonic,
        unix_ns: Callable[[], int] = time_ns,
        first_number: int = 1,
    ) -> None:
        self._peers = peers
        self._router = router
        self._max_attempts = max_attempts
        self._micro_batches = micro_batches
        self._clock = clock
        self._unix_ns = unix_ns
        self._numbers = itertools.count(first_number)
        self._attempts = Attempts(gateway)
        self._credit_line = CreditLine()
        self._num_retried = 0
        self._compressor = compressor or Compressor()
        self._row_requests = RowRequests(router, self._try_routes, partial(next, self._numbers), clock)

    @property
    def num_in_flight(self) -> int:
        """Attempts that wait for an answer."""
        return len(self._attempts)

    @property
    def num_retried(self) -> int:
        """Attempts since the start that followed another one of the same request."""
        return self._num_retried

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
                if order.model.splitting is not None and len(order.model.stages) > 1 and self._micro_batches:
                    rows = rows_of(order.tensors)
                    if rows > 1:
                        return await self._row_requests.infer(order, rows, setbacks, began)
                return await self._try_routes(order, setbacks, began)
        except TimeoutError:
            tried = f" after {len(setbacks)} failed attempts" if setbacks else ""
            raise DeadlineExceeded(f"{order.model}: the deadline passed before the answer{tried}") from None

    def update(self, table: RoutingTable, news: TableDifference | None = None) -> None:
        """Takes a new route table; attempts on workers that it no longer knows of fail at once.

        Args:
            table: Is in force from now on.
            news: What is other in it than in the one before; None: that is found out.
        """
        if news is None:
            news = difference(self._router.table, table)
        self._router.update(table, news)
        for worker in news.gone_workers:
            self._fail(worker, f"worker '{worker}' left the mesh")
        for worker, member in news.workers.items():
            link = self._peers.get(worker)
            if link is not None and link.generation < member.generation:
                self._fail(worker, f"worker '{worker}' was started anew")
                link.leave()
        self._peers.keep(
            {worker: member.address for worker, member in news.workers.items()}, news.gone_workers
        )

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
            self._router.hear_load(worker, header.load)
        elif kind == "credit":
            self._credit_line.give_back((worker, StageKey(header.credit.stage)), header.credit.credit)
        else:
            _log.warning("unexpected_frame", worker=worker, kind=kind)
        if not known:
            _log.debug("stale_answer", worker=worker, kind=kind)

    def on_lost(self, worker: WorkerId, link: Peer) -> None:
        """Takes the end of a stream: attempts that rely on it fail at once."""
        num_failed = self._attempts.fail_link(
            worker, link, Unavailable(f"the stream to worker '{worker}' was lost")
        )
        self._router.lost(worker)
        self._credit_line.forget(worker)
        if num_failed:
            _log.warning("attempts_failed", worker=worker, num_attempts=num_failed)

    def on_silence(self, worker: WorkerId, link: Peer) -> None:
        """Takes that a stream has become silent, or is heard again.

        New requests go elsewhere meanwhile, and those under way there are tried again where that makes sense: of a
        way that was cut nobody is told before the silence limit.
        """
        if worker not in self._router.table.workers or self._peers.get(worker) is not link:
            return
        self._router.balancer.silent(worker, link.is_silent)
        if link.is_silent:
            num_moved = self._attempts.move(
                worker,
                link,
                Unavailable(f"worker '{worker}' has fallen silent"),
                lambda attempt: may_move(attempt, worker, self._peers, self._max_attempts),
            )
            if num_moved:
                _log.warning("attempts_moved", worker=worker, num_attempts=num_moved)

    async def _try_routes(
        self,
        order: Order,
        setbacks: list[Setback],
        began: float,
        given: Picked | None = None,
    ) -> Answer:
        """Tries the route that was picked already, if all its workers are still there, then others."""
        number = next(self._numbers)
        excluded: set[WorkerId] = set()
        num_failed = 0
        stay = await self._router.sessions.places(order.model, order.session)
        if given is not None and not self._router.are_live(given[1]):
            given = None
        for index in itertools.count():
            if given is None:
                given = await self._router.route(order, excluded, setbacks, stay)
            (model, route), given = given, None
            self._num_retried += index > 0
            table = self._router.table
            outcome = await self._attempt(order, number, index, model, route)
            if isinstance(outcome, Arrival):
                self._router.sessions.served(model, order.session, route)
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
            if isinstance(outcome.error, StageGone) and await self._router.newer_than(table, TABLE_WAIT_S):
                continue
            if outcome.excludes:
                excluded.add(outcome.worker)
            num_failed += 1
            if num_failed == self._max_attempts:
                break
        raise gave_up(f"{order.model}: gave up after {self._max_attempts} attempts", setbacks)

    async def _attempt(
        self, order: Order, number: int, index: int, model: RoutedModel, route: Route
    ) -> Arrival | Setback:
        # Nothing was awaited since the workers were picked as live.
        links = tuple(link for replica in route if (link := self._peers.get(replica.worker)) is not None)
        attempt = self._attempts.open(number, index, model.stages, route, links)
        ticket = self._router.begin(model, route)
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
                    if hop == 0 and frame.payload_bytes >= LEAST_BYTES:
                        await self._send_large(order, attempt, frame)
                    elif not links[hop].try_send(frame):
                        await links[hop].send(await self._compressor.packed(frame, links[hop]))
                except Unavailable as error:
                    return Setback(error, route[hop].worker, retriable=True)
            outcome = await attempt.outcome
            if isinstance(outcome, Arrival) and is_packed(outcome.frame):
                outcome = await self._unpacked(outcome, route[-1].worker)
            self._router.learn(outcome, route, model, ticket)
            arrived = outcome if isinstance(outcome, Arrival) else None
            # A worker that refused for good has told everyone whom it concerns, but not the later hops where
            # inputs wait for what will not come.
            over = isinstance(outcome, Arrival) or not (outcome.retriable or model.inputs_by_hop)
            return outcome
        finally:
            self._attempts.close(attempt)
            self._router.end(ticket, () if arrived is None else arrived.frame.header.result.timings)
            if not over:
                self._cancel(attempt)

    async def _send_large(self, order: Order, attempt: Attempt, frame: Frame) -> None:
        """Sends an attempt's first stage what needs credit, once there is room; not if the attempt ends before."""
        first = (attempt.route[0].worker, attempt.stages[0].key)
        num_bytes = frame.payload_bytes
        urgency = (order.priority or DEFAULT_PRIORITY, order.deadline.at_s)
        credit = await self._credit_line.credit(first, num_bytes, urgency, attempt.outcome)
        if credit is None:
            return
        frame.header.activation.credit = num_bytes
        sent = False
        try:
            await attempt.links[0].send(await self._compressor.packed(frame, attempt.links[0]))
            sent = True
        finally:
            if not sent:
                credit.give_back()

    async def _unpacked(self, arrival: Arrival, worker: WorkerId) -> Arrival | Setback:
        """Returns an answer with the elements of its tensors."""
        try:
            return replace(arrival, frame=await self._compressor.unpacked(arrival.frame))
        except CorruptData as error:
            return Setback(error, worker, retriable=True, speaks_against=True)

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

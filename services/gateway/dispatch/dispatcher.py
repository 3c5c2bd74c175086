"""Requests to workers: routes, retries, deadlines."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from functools import partial
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import DeadlineExceeded, StageGone, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference, difference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from services.gateway.batching.micro_batch_runner import MicroBatchRunner, Picked
from services.gateway.batching.split_requests import rows_of
from services.gateway.dispatch.attempt_runner import AttemptRunner
from services.gateway.dispatch.credit_queue import CreditQueue
from services.gateway.dispatch.rerouting import may_reroute
from services.gateway.requests.attempts import AttemptFailure, AttemptResult, Attempts
from services.gateway.requests.final_error import gave_up
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.peers import Peer, Peers
from services.gateway.requests.trace import Trace
from services.gateway.routes.router import Router

TABLE_WAIT_S = 5.0
"""How long a request waits for the table that tells where a stage went, before it takes its worker for lost."""

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Gets requests answered by the workers of the route table. Belongs to one event loop.

    Args:
        gateway: This gateway's id.
        peers: Streams to workers; they must hand what happens on them to `on_frame`, `on_lost` and
            `on_suspicion`.
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
        self._credit_line = CreditQueue()
        self._num_retried = 0
        self._runner = AttemptRunner(
            self._attempts,
            self._credit_line,
            peers,
            router,
            compressor or Compressor(),
            clock=clock,
            unix_ns=unix_ns,
        )
        self._row_requests = MicroBatchRunner(router, self._try_routes, partial(next, self._numbers), clock)

    @property
    def num_in_flight(self) -> int:
        """Attempts that wait for an answer."""
        return len(self._attempts)

    @property
    def num_retried(self) -> int:
        """Attempts since the start that followed another one of the same request."""
        return self._num_retried

    async def infer(self, order: InferenceRequest) -> InferenceResult:
        """Runs one request to its end; retries it on another route where that makes sense.

        Raises:
            Unavailable: A stage has no live replica, or none is left that did not fail (UNAVAILABLE).
            Unsatisfiable: No worker of a stage meets what the request requires (FAILED_PRECONDITION).
            Overloaded: Every replica refused for want of room, or none would be done in time (RESOURCE_EXHAUSTED).
            DeadlineExceeded: The deadline passed first (DEADLINE_EXCEEDED).
            MeshError: What a worker said, where another route would say the same.
        """
        began = self._clock()
        failures: list[AttemptFailure] = []
        remaining_s = order.deadline.remaining_s(self._clock)
        try:
            if remaining_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(remaining_s):
                if order.model.splitting is not None and len(order.model.stages) > 1 and self._micro_batches:
                    rows = rows_of(order.tensors)
                    if rows > 1:
                        return await self._row_requests.infer(order, rows, failures, began)
                return await self._try_routes(order, failures, began)
        except TimeoutError:
            tried = f" after {len(failures)} failed attempts" if failures else ""
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
        for worker in news.removed_workers:
            self._fail(worker, f"worker '{worker}' left the mesh")
        for worker, member in news.workers.items():
            link = self._peers.get(worker)
            if link is not None and link.generation < member.generation:
                self._fail(worker, f"worker '{worker}' was started anew")
                link.disconnect()
        self._peers.keep(
            {worker: member.address for worker, member in news.workers.items()}, news.removed_workers
        )

    def on_frame(self, worker: WorkerId, frame: Frame) -> None:
        """Takes what a worker said. Never raises, never blocks."""
        header = frame.header
        kind = header.WhichOneof("kind")
        known = True
        if kind == "result":
            known = self._attempts.settle(header.result.key, AttemptResult(frame, self._unix_ns()))
        elif kind == "failure":
            known = self._attempts.settle(header.failure.key, AttemptFailure.of(header.failure, worker))
        elif kind == "load":
            self._router.observe_load(worker, header.load)
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

    def on_suspicion(self, worker: WorkerId, link: Peer) -> None:
        """Takes that a stream has become silent, or is heard again.

        New requests go elsewhere meanwhile, and those under way there are tried again where that makes sense: of a
        way that was cut nobody is told before the silence limit.
        """
        if worker not in self._router.table.workers or self._peers.get(worker) is not link:
            return
        self._router.balancer.mark_suspect(worker, link.is_suspect)
        if link.is_suspect:
            num_moved = self._attempts.move(
                worker,
                link,
                Unavailable(f"worker '{worker}' has fallen silent"),
                lambda attempt: may_reroute(attempt, worker, self._peers, self._max_attempts),
            )
            if num_moved:
                _log.warning("attempts_moved", worker=worker, num_attempts=num_moved)

    async def _try_routes(
        self,
        order: InferenceRequest,
        failures: list[AttemptFailure],
        began: float,
        given: Picked | None = None,
    ) -> InferenceResult:
        """Tries the route that was picked already, if all its workers are still there, then others."""
        number = next(self._numbers)
        excluded: set[WorkerId] = set()
        num_failed = 0
        stay = await self._router.sessions.places(order.model, order.session)
        if given is not None and not self._router.are_live(given[1]):
            given = None
        for index in itertools.count():
            if given is None:
                given = await self._router.route(order, excluded, failures, stay)
            (model, route), given = given, None
            self._num_retried += index > 0
            table = self._router.table
            outcome = await self._runner.run(order, number, index, model, route)
            if isinstance(outcome, AttemptResult):
                self._router.sessions.served(model, order.session, route)
                return self._answer(outcome, index + 1, began)
            if not outcome.retriable:
                raise outcome.error
            failures.append(outcome)
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
        raise gave_up(f"{order.model}: gave up after {self._max_attempts} attempts", failures)

    def _answer(self, arrival: AttemptResult, attempts: int, began: float) -> InferenceResult:
        result = arrival.frame.header.result
        total_s = self._clock() - began
        trace = Trace.of(total_s, attempts, result.timings, result.sent_unix_ns, arrival.at_unix_ns)
        return InferenceResult(arrival.tensors, trace)

    def _fail(self, worker: WorkerId, why: str) -> None:
        if self._attempts.fail_worker(worker, Unavailable(why)):
            _log.warning("attempts_failed", worker=worker, why=why)

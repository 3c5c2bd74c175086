"""The innermost layer of the request path: attempts on workers, and the frames that they answer with."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import StageNotHeld, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference, difference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from services.gateway.dispatch.attempt_runner import AttemptRunner
from services.gateway.dispatch.credit_queue import CreditQueue
from services.gateway.requests.attempts import AttemptFailure, AttemptResult, PendingAttempts, may_reroute
from services.gateway.requests.final_error import routes_exhausted
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.trace import Trace
from services.gateway.requests.worker_links import WorkerLink, WorkerLinks
from services.gateway.routes.router import PickedRoute, Router

TABLE_WAIT_S = 5.0
"""How long a request waits for the table with the new worker of a stage, before it counts the old one as failed."""

_log = structlog.get_logger(__name__)


class Dispatcher:
    """Tries routes until a request has its result, and retries where another route may succeed.

    Belongs to one event loop.

    Args:
        gateway: Id of this gateway.
        links: Streams to workers; their events go to `on_frame`, `on_lost` and `on_suspicion`.
        router: Picks routes over these workers.
        max_attempts: Most routes that are tried for one request.
        compressor: Compresses requests, and decompresses results, where a link is slow; None: a new one.
        clock: Seconds, monotonic.
        unix_ns: Nanoseconds of Unix time, for traces.
        first_number: Number of the first request, above those of an earlier process with this id.
    """

    def __init__(
        self,
        gateway: str,
        links: WorkerLinks,
        router: Router,
        *,
        max_attempts: int,
        compressor: Compressor | None = None,
        clock: Clock = monotonic,
        unix_ns: Callable[[], int] = time_ns,
        first_number: int = 1,
    ) -> None:
        self._links = links
        self._router = router
        self._max_attempts = max_attempts
        self._clock = clock
        self._unix_ns = unix_ns
        self._numbers = itertools.count(first_number)
        self._attempts = PendingAttempts(gateway)
        self._credit_queue = CreditQueue()
        self._num_retried = 0
        self._runner = AttemptRunner(
            self._attempts,
            links,
            router,
            credit_queue=self._credit_queue,
            compressor=compressor or Compressor(),
            clock=clock,
            unix_ns=unix_ns,
        )

    @property
    def num_in_flight(self) -> int:
        """Attempts that wait for their outcome."""
        return len(self._attempts)

    @property
    def num_retried(self) -> int:
        """Attempts since the start that followed another one of the same request."""
        return self._num_retried

    def next_number(self) -> int:
        """Returns a number that no other request of this gateway has."""
        return next(self._numbers)

    async def infer(self, request: InferenceRequest, picked: PickedRoute | None = None) -> InferenceResult:
        """Runs one request to its end; retries it on another route where that may succeed.

        Args:
            request: The request; failed attempts are added to its failures.
            picked: The route of the first attempt, if all its workers are still connected; None: one is picked.

        Raises:
            Unavailable: A stage has no live replica, or none is left that did not fail (UNAVAILABLE).
            Unsatisfiable: No worker of a stage meets the requirements (FAILED_PRECONDITION).
            Overloaded: Every replica refused because its queue is full (RESOURCE_EXHAUSTED).
            DeadlineExceeded: No replica would be done in time (DEADLINE_EXCEEDED).
            MeshError: What a worker reported, where another route would fail alike.
        """
        began_s = self._clock()
        number = next(self._numbers)
        excluded: set[WorkerId] = set()
        num_failed = 0
        session_workers = await self._router.sessions.workers(request.model, request.options.session)
        if picked is not None and not self._router.are_live(picked[1]):
            picked = None
        for index in itertools.count():
            if picked is None:
                picked = await self._router.route(request, excluded, session_workers)
            (model, route), picked = picked, None
            self._num_retried += index > 0
            table = self._router.table
            outcome = await self._runner.run(request, number, index, model, route)
            if isinstance(outcome, AttemptResult):
                self._router.sessions.record(model, request.options.session, route)
                return self._result(outcome, index + 1, began_s)
            if not outcome.retriable:
                raise outcome.error
            self._record_failure(request, index, outcome)
            # The worker is well, and may be the only one of another stage: the route was outdated.
            if isinstance(outcome.error, StageNotHeld) and await self._router.newer_than(table, TABLE_WAIT_S):
                continue
            if outcome.excludes_worker:
                excluded.add(outcome.worker)
            num_failed += 1
            if num_failed == self._max_attempts:
                break
        raise routes_exhausted(f"{request.model}: gave up{_after(self._max_attempts)}", request.failures)

    def update(self, table: RoutingTable, changes: TableDifference | None = None) -> None:
        """Applies a new route table; attempts on workers that it no longer has fail at once.

        Args:
            table: The table in force from now on.
            changes: Its difference from the previous one; None: it is computed.
        """
        if changes is None:
            changes = difference(self._router.table, table)
        self._router.update(table, changes)
        for worker in changes.removed_workers:
            self._fail(worker, f"worker '{worker}' left the mesh")
        for worker, member in changes.workers.items():
            link = self._links.get(worker)
            if link is not None and link.generation < member.generation:
                self._fail(worker, f"worker '{worker}' was restarted")
                link.disconnect()
        self._links.keep(
            {worker: member.address for worker, member in changes.workers.items()}, changes.removed_workers
        )

    def on_frame(self, worker: WorkerId, frame: Frame) -> None:
        """Handles a frame of a worker. Never raises, never blocks."""
        header = frame.header
        kind = header.WhichOneof("kind")
        is_known = True
        if kind == "result":
            is_known = self._attempts.settle(header.result.key, AttemptResult(frame, self._unix_ns()))
        elif kind == "failure":
            is_known = self._attempts.settle(
                header.failure.key, AttemptFailure.from_proto(header.failure, worker)
            )
        elif kind == "load":
            self._router.observe_load(worker, header.load)
        elif kind == "credit":
            self._credit_queue.give_back((worker, StageKey(header.credit.stage)), header.credit.credit)
        else:
            _log.warning("unexpected_frame", worker=worker, kind=kind)
        if not is_known:
            _log.debug("stale_answer", worker=worker, kind=kind)

    def on_lost(self, worker: WorkerId, link: WorkerLink) -> None:
        """Handles the end of a stream: attempts that use it fail at once."""
        num_failed = self._attempts.fail_link(
            worker, link, Unavailable(f"the stream to worker '{worker}' was lost")
        )
        self._router.lost(worker)
        self._credit_queue.remove_worker(worker)
        if num_failed:
            _log.warning("attempts_failed", worker=worker, num_attempts=num_failed)

    def on_suspicion(self, worker: WorkerId, link: WorkerLink) -> None:
        """Handles that the failure detector suspects a worker, or no longer does.

        New requests avoid a suspected worker, and attempts that use the stream are tried again where that is worth it: a link
        that was cut is reported as lost only after the detector's limit.
        """
        if worker not in self._router.table.workers or self._links.get(worker) is not link:
            return
        self._router.suspect(worker, link.is_suspect)
        if link.is_suspect:
            num_rerouted = self._attempts.reroute(
                worker,
                link,
                Unavailable(f"worker '{worker}' is suspected: its heartbeat is overdue"),
                lambda attempt: may_reroute(attempt, worker, self._links, self._max_attempts),
            )
            if num_rerouted:
                _log.warning("attempts_rerouted", worker=worker, num_attempts=num_rerouted)

    def _record_failure(self, request: InferenceRequest, index: int, failure: AttemptFailure) -> None:
        request.failures.append(failure)
        _log.warning(
            "attempt_failed",
            request_id=request.request_id,
            model=request.model.name,
            attempt=index,
            worker=failure.worker,
            error=failure.error.message,
        )

    def _result(self, outcome: AttemptResult, attempts: int, began_s: float) -> InferenceResult:
        result = outcome.frame.header.result
        trace = Trace.of(
            self._clock() - began_s,
            attempts,
            result.timings,
            sent_unix_ns=result.sent_unix_ns,
            received_unix_ns=outcome.received_unix_ns,
        )
        return InferenceResult(outcome.tensors, trace)

    def _fail(self, worker: WorkerId, why: str) -> None:
        if self._attempts.fail_worker(worker, Unavailable(why)):
            _log.warning("attempts_failed", worker=worker, why=why)


def _after(num_attempts: int) -> str:
    return f" after {num_attempts} {'attempt' if num_attempts == 1 else 'attempts'}"

"""One stage at work: its queue, its threads, and what leaves it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Overloaded, StageGone
from onnxmesh.telemetry.masking import masked
from onnxmesh.v1.frame_pb2 import HopTiming
from services.worker.requests import request_flow
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_request import StageRequest
from services.worker.stages.stage_pace import StagePace
from services.worker.stages.stage_queue import StageQueue
from services.worker.stages.stage_run import Runnable, RunOutcome, run_requests
from services.worker.stages.stage_thread import StageThread
from services.worker.stages.waiting_parts import WaitingParts
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from services.worker.streams.stage_output import StageOutput

LEAST_TOLD_BYTES = 64 << 10
"""What comes with a request is told to its gateway from so many bytes on."""

RETRY_AFTER_S = 0.1
"""A full queue has room again after about this."""


class StageRunner:
    """Runs the requests of one stage in threads of its own: one after another, or several together where they may.

    What gathers while a run is under way is the next one, up to the rule's size; an idle stage never waits. Where more
    than one run may be under way, another begins as soon as it would not become larger by waiting.

    `run` must run for as long as requests are offered; cancelling it ends the stage, and whoever still
    waits is told that it is unavailable.

    Args:
        part: The partition in its place.
        session: The loaded model.
        forwarder: The way to the next stage.
        origins: The way to the gateways.
        cancellations: Requests that were given up.
        tally: Where it counts what becomes of requests.
        queue_size: How many requests may wait, and how many parts for their others.
        waiting_bytes: How many bytes of such parts may wait.
        runs_at_once: Runs that may be under way at a time.
        on_computed: Is told how long each run took, in seconds.
        clock: Seconds, monotonic.
        cpu_class: Class of this worker's CPU; empty where stages run on something else.
        expected_wait_us: Returns what a request that comes to this worker now waits there; None: it is not known.
    """

    def __init__(
        self,
        part: StagePart,
        session: Runnable,
        forwarder: Forwarder,
        origins: GatewayReplies,
        cancellations: Cancellations,
        tally: RequestCounters,
        *,
        queue_size: int,
        waiting_bytes: int = 1 << 30,
        runs_at_once: int = 1,
        on_computed: Callable[[float], None] = lambda _: None,
        clock: Clock = monotonic,
        cpu_class: str = "",
        expected_wait_us: Callable[[], int | None] = lambda: None,
    ) -> None:
        rule = part.batching
        if rule is not None and rule.cpu_class not in {"", cpu_class}:
            rule = None
        self.part = replace(part, batching=rule)
        self._session = session
        self._forwarder = forwarder
        self._origins = origins
        self._cancellations = cancellations
        self._tally = tally
        self._expected_wait_us = expected_wait_us
        self._clock = clock
        self._queue = StageQueue(queue_size, rule)
        self._pace = StagePace(rule, on_computed)
        self._parts = WaitingParts(
            part, self._put, origins, tally, max_parts=queue_size, max_bytes=waiting_bytes, clock=clock
        )
        self._threads: list[StageThread[list[RunOutcome]]] = [
            StageThread(part.stage) for _ in range(runs_at_once)
        ]
        self._tasks = asyncio.TaskGroup()
        self._departures = StageOutput(self.part, forwarder, origins, self._tasks, self._settle, clock)
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._num_pending = 0
        self._num_bytes = 0
        self.num_running = 0

    @property
    def mean_compute_s(self) -> float:
        """Seconds that a request takes in a run, lately; 0 before the first."""
        return self._pace.mean_compute_s

    @property
    def num_queued(self) -> int:
        """Requests that wait to run."""
        return len(self._queue)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of the tensors of everything that is here, waiting parts included."""
        return self._num_bytes + self._parts.num_bytes

    def offer(self, request: StageRequest) -> None:
        """Queues a request; a part of one, once the other is here.

        Raises:
            Overloaded: Too many wait already, none of them in vain (RESOURCE_EXHAUSTED).
        """
        if self.part.direct_inputs or request.header.direct:
            self._parts.take(request)
        else:
            self._put(request)

    def _put(self, request: StageRequest) -> None:
        if self._queue.is_full:
            self._sweep()
        if (older := self._queue.discard(request.key)) is not None:
            older.give_credit_back()
            self._settle(older.num_bytes)
        try:
            self._queue.put(request)
        except Overloaded as error:
            request.give_credit_back()
            raise Overloaded(error.message, retry_after_s=RETRY_AFTER_S) from None
        self._pace.arrived(request.arrived_s)
        self._num_pending += 1
        self._num_bytes += request.num_bytes
        self._idle.clear()
        self._woken.set()

    def cancel(self, key: RequestKey) -> None:
        """Takes a request that was given up out of the queue; one that runs is dropped when it is done."""
        self._parts.cancel(key)
        request = self._queue.discard(key)
        if request is not None:
            request.give_credit_back()
            self._tally.dropped += 1
            self._settle(request.num_bytes)

    def forget_origin(self, origin: str) -> None:
        """Drops what waits for a gateway that is gone: nobody would take the answers."""
        self.forget_parts(origin)
        for request in self._queue.sweep(lambda waiting: waiting.key.origin == origin):
            request.give_credit_back()
            self._tally.dropped += 1
            self._settle(request.num_bytes)

    def forget_parts(self, origin: str) -> None:
        """Drops the waiting parts of a gateway that has failed their requests."""
        self._parts.forget_origin(origin)

    def refuse_parts(self) -> None:
        """Refuses what waits for its other part: that would not be taken any more."""
        self._parts.let_go(self._was_let_go())

    def wake(self) -> None:
        """Looks again at what waits: there may be room at its next stage now."""
        self._woken.set()

    async def run(self) -> None:
        """Serves until it is cancelled."""
        try:
            async with self._tasks, asyncio.TaskGroup() as lanes:
                for thread in self._threads:
                    lanes.create_task(self._run_in(thread))
        finally:
            for thread in self._threads:
                thread.close()
            del self._session
            self.refuse_parts()
            while batch := self._taken():
                self._end(batch, self._was_let_go())

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs or is about to leave."""
        return self._idle.is_set() and not self._parts

    async def drained(self) -> None:
        """Returns once nothing waits, runs or is about to leave."""
        while not self.is_idle:
            await self._parts.none_left()
            await self._idle.wait()

    async def _run_in(self, thread: StageThread[list[RunOutcome]]) -> None:
        while True:
            await self._serve(await self._next(), thread)

    async def _next(self) -> list[StageRequest]:
        await self._gather()
        while not (self._may_begin() and (batch := self._taken(self._forwarder.room))):
            self._woken.clear()
            await self._woken.wait()
        return batch

    def _may_begin(self) -> bool:
        """Whether the next run would not become larger while the ones that are under way go on."""
        if not self.num_running:
            return True
        first = self._queue.next()
        return first is not None and self._pace.is_complete(first)

    def _taken(self, room: Callable[[StageRequest], int] | None = None) -> list[StageRequest]:
        batch = self._queue.take(room)
        for request in batch:
            request.give_credit_back()
        return batch

    async def _gather(self) -> None:
        """Waits while it is worth it: for those that come soon after a run, to run with those that came during it."""
        begun_s = self._clock()
        while (first := self._queue.next()) is not None:
            left_s = self._pace.worth_until_s(first, begun_s) - self._clock()
            if left_s <= 0:
                return
            self._woken.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _serve(self, batch: list[StageRequest], thread: StageThread[list[RunOutcome]]) -> None:
        pending = deque(request for request in batch if self._goes_on(request))
        begun_s = self._clock()
        try:
            outcomes = deque(await self._compute(list(pending), thread) if pending else ())
            while pending:
                await self._send_on(pending[0], outcomes.popleft(), begun_s)
                pending.popleft()
        except asyncio.CancelledError:
            self._end(pending, self._was_let_go())
            raise
        except Exception as error:  # noqa: BLE001 - a defect must not stop the stage
            self._end(pending, masked(error, stage=self.part.stage))

    async def _send_on(self, request: StageRequest, outcome: RunOutcome, begun_s: float) -> None:
        if isinstance(outcome.computed, MeshError):
            self._end([request], outcome.computed)
        elif self._goes_on(request):
            timing = self._timing(request, outcome, begun_s)
            try:
                await self._departures.send(request, outcome.computed, timing)
            except MeshError as error:
                self._end([request], error)
            except Exception as error:  # noqa: BLE001 - one request's defect must not end those that it ran with
                self._end([request], masked(error, stage=self.part.stage))

    def _timing(self, request: StageRequest, outcome: RunOutcome, begun_s: float) -> HopTiming:
        return HopTiming(
            stage=self.part.stage,
            worker=request.hop.worker,
            queue_ns=round((begun_s - request.arrived_s) * 1e9),
            compute_ns=outcome.compute_ns,
            wire_ns=request.wire_ns,
            batch=outcome.batch,
            expected_wait_us=self._expected_wait_us(),
            rows=outcome.rows,
            tensor_bytes=num_bytes if (num_bytes := request.num_bytes) >= LEAST_TOLD_BYTES else 0,
        )

    def _goes_on(self, request: StageRequest) -> bool:
        """Whether to spend anything more on a request; one that has ended is settled."""
        cancelled = request.key in self._cancellations
        match request_flow.still_wanted(request, cancelled=cancelled, now_s=self._clock()):
            case Proceed():
                return True
            case Drop():
                self._tally.dropped += 1
                self._settle(request.num_bytes)
            case Refuse(error):
                self._end([request], error)
        return False

    def _end(self, requests: Iterable[StageRequest], error: MeshError) -> None:
        for request in requests:
            self._origins.refuse(request.key, error)
            self._settle(request.num_bytes)

    async def _compute(
        self, requests: list[StageRequest], thread: StageThread[list[RunOutcome]]
    ) -> list[RunOutcome]:
        self.num_running += len(requests)
        work = partial(
            run_requests,
            self._session,
            requests,
            self.part,
            self._departures.allocator(requests),
            keep_on_device=bool(self._session.device) and self._departures.stay_here(requests),
        )
        try:
            outcomes = await thread.do(work)
        finally:
            self.num_running -= len(requests)
        self._pace.ran(requests, outcomes)
        return outcomes

    def _sweep(self) -> None:
        """Makes room by ending those that wait in vain."""
        for request in self._queue.sweep(lambda waiting: waiting.deadline.at_s <= self._clock()):
            request.give_credit_back()
            self._goes_on(request)

    def _settle(self, num_bytes: int) -> None:
        self._num_pending -= 1
        self._num_bytes -= num_bytes
        if self._num_pending == 0:
            self._idle.set()

    def _was_let_go(self) -> StageGone:
        return StageGone(f"{self.part.stage} was let go")

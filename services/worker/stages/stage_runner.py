"""Runs one stage: its queue, its threads and its output."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Overloaded, StageNotHeld
from onnxmesh.masking import masked
from onnxmesh.v1.frame_pb2 import HopTiming
from services.worker.queueing.stage_pace import StagePace
from services.worker.queueing.stage_queue import StageQueue
from services.worker.requests import request_flow
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.run_outcome import RunOutcome
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec
from services.worker.stages.pending_parts import PendingParts
from services.worker.stages.stage_run import Runnable, run_requests
from services.worker.stages.stage_thread import StageThread
from services.worker.streams.outbound import Outbound
from services.worker.streams.stage_output import StageOutput

MIN_REPORTED_BYTES = 64 << 10
"""Least bytes of a request's tensors that its timing reports."""

QUEUE_RETRY_AFTER_S = 0.1
"""Delay after which a request that found the queue full may be retried."""


@dataclass(frozen=True, slots=True)
class StageLimits:
    """Limits of each stage.

    Attributes:
        queue_size: Requests that may be queued, and parts that may be pending.
        pending_bytes: Bytes of tensors of pending parts.
        runs_at_once: Concurrent runs, each in a thread of its own.
    """

    queue_size: int
    pending_bytes: int = 1 << 30
    runs_at_once: int = 1


class StageRunner:
    """Runs the requests of one stage in threads of its own: one after another, or in batches where they may.

    Requests that arrive during a run form the next batch, up to the rule's size; an idle stage runs at once. Where
    several runs may be concurrent, another one begins as soon as its batch can no longer grow by waiting.

    `run` must be running while requests are submitted; cancelling it ends the stage, and the requests that are still
    here fail as unavailable.

    Args:
        spec: The stage; its batch rule holds on this worker.
        session: The loaded partition.
        outbound: Where requests go next.
        cancellations: Cancelled attempts.
        limits: Of the stage.
        on_run: Called with the seconds of each run.
        expected_wait_us: Returns the expected wait of a request that arrives at this worker now; None: unknown.
        clock: Seconds, monotonic.

    Attributes:
        spec: The stage.
        num_running: Requests in a run.
    """

    def __init__(
        self,
        spec: StageSpec,
        session: Runnable,
        outbound: Outbound,
        *,
        cancellations: Cancellations,
        limits: StageLimits,
        on_run: Callable[[float], None] = lambda _: None,
        expected_wait_us: Callable[[], int | None] = lambda: None,
        clock: Clock = monotonic,
    ) -> None:
        self.spec = spec
        self._session = session
        self._forwarder = outbound.forwarder
        self._replies = outbound.replies
        self._cancellations = cancellations
        self._expected_wait_us = expected_wait_us
        self._clock = clock
        self._queue = StageQueue(limits.queue_size, spec.batching)
        self._pace = StagePace(spec.batching, on_run)
        self._parts = PendingParts(
            spec,
            outbound.replies,
            run=self._enqueue,
            max_parts=limits.queue_size,
            max_bytes=limits.pending_bytes,
            clock=clock,
        )
        self._threads: list[StageThread[list[RunOutcome]]] = [
            StageThread(spec.stage) for _ in range(limits.runs_at_once)
        ]
        self._tasks = asyncio.TaskGroup()
        self._output = StageOutput(spec, outbound, tasks=self._tasks, settle=self._settle, clock=clock)
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._num_pending = 0
        self._num_bytes = 0
        self.num_running = 0

    @property
    def mean_compute_s(self) -> float:
        """Moving average of a run's seconds per request; 0 before the first."""
        return self._pace.mean_compute_s

    @property
    def num_queued(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of the tensors of all requests that are here, pending parts included."""
        return self._num_bytes + self._parts.num_bytes

    def submit(self, request: StageRequest) -> None:
        """Queues a request; a part of one is queued once the other part is here.

        Raises:
            Overloaded: The queue is full of requests that are still wanted (RESOURCE_EXHAUSTED).
        """
        if self.spec.direct_inputs or request.header.direct:
            self._parts.add(request)
        else:
            self._enqueue(request)

    def _enqueue(self, request: StageRequest) -> None:
        if self._queue.is_full:
            self._remove_expired()
        if (older := self._queue.discard(request.key)) is not None:
            older.return_credit()
            self._settle(older.num_bytes)
        try:
            self._queue.put(request)
        except Overloaded as error:
            request.return_credit()
            raise Overloaded(error.message, retry_after_s=QUEUE_RETRY_AFTER_S) from None
        self._pace.observe_arrival(request.arrived_s)
        self._num_pending += 1
        self._num_bytes += request.num_bytes
        self._idle.clear()
        self._woken.set()

    def cancel(self, key: RequestKey) -> None:
        """Removes a cancelled attempt from the queue; one that is running is dropped after its run."""
        self._parts.cancel(key)
        request = self._queue.discard(key)
        if request is not None:
            self._drop(request)

    def drop_gateway(self, origin: str) -> None:
        """Drops the queued requests of a gateway that is disconnected: no answer could be sent."""
        self.drop_parts(origin)
        for request in self._queue.remove_if(lambda queued: queued.key.origin == origin):
            self._drop(request)

    def drop_parts(self, origin: str) -> None:
        """Drops the pending parts of a gateway that has failed their requests."""
        self._parts.drop_gateway(origin)

    def refuse_parts(self) -> None:
        """Refuses all pending parts: the stage is being evicted, and their other parts would be refused."""
        self._parts.refuse_all(self._evicted())

    def wake(self) -> None:
        """Looks at the queue again: the next stage may have capacity now."""
        self._woken.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        try:
            async with self._tasks, asyncio.TaskGroup() as lanes:
                for thread in self._threads:
                    lanes.create_task(self._run_in(thread))
        finally:
            for thread in self._threads:
                thread.close()
            del self._session
            self.refuse_parts()
            while batch := self._take():
                self._refuse(batch, self._evicted())

    @property
    def is_idle(self) -> bool:
        """Whether no request is queued, pending, running or being sent."""
        return self._idle.is_set() and not self._parts

    async def wait_idle(self) -> None:
        """Returns once no request is queued, pending, running or being sent."""
        while not self.is_idle:
            await self._parts.wait_empty()
            await self._idle.wait()

    async def _run_in(self, thread: StageThread[list[RunOutcome]]) -> None:
        while True:
            await self._run_batch(await self._next_batch(), thread)

    async def _next_batch(self) -> list[StageRequest]:
        await self._wait_for_larger_batch()
        while not (self._may_begin() and (batch := self._take(self._forwarder.capacity))):
            self._woken.clear()
            await self._woken.wait()
        return batch

    def _may_begin(self) -> bool:
        """Whether the next batch cannot grow while the current runs go on."""
        if not self.num_running:
            return True
        upcoming = self._queue.next()
        return upcoming is not None and self._pace.is_complete(upcoming)

    def _take(self, capacity: Callable[[StageRequest], int] | None = None) -> list[StageRequest]:
        batch = self._queue.take(capacity)
        for request in batch:
            request.return_credit()
        return batch

    async def _wait_for_larger_batch(self) -> None:
        """Waits up to the batch delay for more requests of the same group."""
        since_s = self._clock()
        while (upcoming := self._queue.next()) is not None:
            left_s = self._pace.wait_until_s(upcoming, since_s) - self._clock()
            if left_s <= 0:
                return
            self._woken.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _run_batch(self, batch: list[StageRequest], thread: StageThread[list[RunOutcome]]) -> None:
        pending = deque(request for request in batch if self._is_wanted(request))
        begun_s = self._clock()
        try:
            outcomes = deque(await self._compute(list(pending), thread) if pending else ())
            while pending:
                await self._send(pending[0], outcomes.popleft(), begun_s)
                pending.popleft()
        except asyncio.CancelledError:
            self._refuse(pending, self._evicted())
            raise
        except Exception as error:  # noqa: BLE001 - a defect must not stop the stage
            self._refuse(pending, masked(error, stage=self.spec.stage))

    async def _send(self, request: StageRequest, outcome: RunOutcome, begun_s: float) -> None:
        if isinstance(outcome.computed, MeshError):
            self._refuse([request], outcome.computed)
        elif self._is_wanted(request):
            timing = self._timing(request, outcome, begun_s)
            try:
                await self._output.send(request, outcome.computed, timing)
            except Exception as error:  # noqa: BLE001 - one request's defect must not fail its batch
                self._refuse([request], masked(error, stage=self.spec.stage))

    def _timing(self, request: StageRequest, outcome: RunOutcome, begun_s: float) -> HopTiming:
        return HopTiming(
            stage=self.spec.stage,
            worker=request.hop.worker,
            queue_ns=round((begun_s - request.arrived_s) * 1e9),
            compute_ns=outcome.compute_ns,
            wire_ns=request.wire_ns,
            batch=outcome.batch,
            expected_wait_us=self._expected_wait_us(),
            rows=outcome.rows,
            tensor_bytes=num_bytes if (num_bytes := request.num_bytes) >= MIN_REPORTED_BYTES else 0,
        )

    def _is_wanted(self, request: StageRequest) -> bool:
        """Whether a request is still worth work; one that is not is ended and settled here."""
        cancelled = request.key in self._cancellations
        match request_flow.check_wanted(request, cancelled=cancelled, now_s=self._clock()):
            case Proceed():
                return True
            case Drop():
                self._replies.drop(request.key)
                self._settle(request.num_bytes)
            case Refuse(error):
                self._refuse([request], error)
        return False

    def _drop(self, request: StageRequest) -> None:
        request.return_credit()
        self._replies.drop(request.key)
        self._settle(request.num_bytes)

    def _refuse(self, requests: Iterable[StageRequest], error: MeshError) -> None:
        for request in requests:
            self._replies.refuse(request.key, error)
            self._settle(request.num_bytes)

    async def _compute(
        self, requests: list[StageRequest], thread: StageThread[list[RunOutcome]]
    ) -> list[RunOutcome]:
        self.num_running += len(requests)
        work = partial(
            run_requests,
            self._session,
            requests,
            self.spec,
            self._output.allocator(requests),
            keep_on_device=bool(self._session.device) and self._output.all_local(requests),
        )
        try:
            outcomes = await thread.run(work)
        finally:
            self.num_running -= len(requests)
        self._pace.observe_run(requests, outcomes)
        return outcomes

    def _remove_expired(self) -> None:
        """Ends the queued requests whose deadline has passed."""
        for request in self._queue.remove_if(lambda queued: queued.deadline.at_s <= self._clock()):
            request.return_credit()
            self._is_wanted(request)

    def _settle(self, num_bytes: int) -> None:
        self._num_pending -= 1
        self._num_bytes -= num_bytes
        if self._num_pending == 0:
            self._idle.set()

    def _evicted(self) -> StageNotHeld:
        return StageNotHeld(f"{self.spec.stage} was evicted")

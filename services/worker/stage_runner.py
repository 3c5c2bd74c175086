"""One stage at work: its queue, its one thread, and what leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, perf_counter_ns, time_ns
from typing import Protocol

from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import MeshError, Overloaded, StageGone
from onnxmesh.rpc.frames import Frame
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Hop, HopTiming
from services.worker import outgoing_frames, request_flow
from services.worker.cancellations import Cancellations
from services.worker.forwarder import Forwarder
from services.worker.origins import Origins
from services.worker.request_flow import Drop, GoOn, Refuse
from services.worker.request_key import RequestKey
from services.worker.run_errors import masked, told_to_origin
from services.worker.stage_part import StagePart
from services.worker.stage_queue import StageQueue
from services.worker.stage_request import StageRequest
from services.worker.tally import Tally
from services.worker.waiting_parts import WaitingParts

MAX_LEAVING = 16
"""Requests that are done here and wait for their next link; beyond, the stage stands still."""

MEAN_WEIGHT = 0.1
"""Weight of a run against those before, in the mean that gateways plan with."""

RETRY_AFTER_S = 0.1
"""A full queue has room again after about this."""


class Runnable(Protocol):
    """A loaded model; `onnxmesh.graph.session.StageSession` is one."""

    def run(self, feeds: Mapping[str, Tensor], outputs: Collection[str] | None = None) -> dict[str, Tensor]:
        """Computes the named outputs; blocks, and is called in a thread."""
        ...


class StageRunner:
    """Runs the requests of one stage, one after another, in a thread of its own.

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
        on_computed: Is told how long each run took, in seconds.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        part: StagePart,
        session: Runnable,
        forwarder: Forwarder,
        origins: Origins,
        cancellations: Cancellations,
        tally: Tally,
        *,
        queue_size: int,
        waiting_bytes: int = 1 << 30,
        on_computed: Callable[[float], None] = lambda _: None,
        clock: Clock = monotonic,
    ) -> None:
        self.part = part
        self._session = session
        self._forwarder = forwarder
        self._origins = origins
        self._cancellations = cancellations
        self._tally = tally
        self._on_computed = on_computed
        self._clock = clock
        self._queue = StageQueue(queue_size)
        self._parts = WaitingParts(
            part, self._put, origins, tally, max_parts=queue_size, max_bytes=waiting_bytes, clock=clock
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=part.stage)
        self._leaving_slots = asyncio.Semaphore(MAX_LEAVING)
        self._tasks = asyncio.TaskGroup()
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._num_pending = 0
        self._num_bytes = 0
        self.num_running = 0
        self.mean_compute_s = 0.0

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
            self._settle(older.num_bytes)
        try:
            self._queue.put(request)
        except Overloaded as error:
            raise Overloaded(error.message, retry_after_s=RETRY_AFTER_S) from None
        self._num_pending += 1
        self._num_bytes += request.num_bytes
        self._idle.clear()
        self._woken.set()

    def cancel(self, key: RequestKey) -> None:
        """Takes a request that was given up out of the queue; one that runs is dropped when it is done."""
        self._parts.cancel(key)
        request = self._queue.discard(key)
        if request is not None:
            self._tally.dropped += 1
            self._settle(request.num_bytes)

    def forget_origin(self, origin: str) -> None:
        """Drops what waits for a gateway that is gone: nobody would take the answers."""
        self.forget_parts(origin)
        for request in self._queue.sweep(lambda waiting: waiting.key.origin == origin):
            self._tally.dropped += 1
            self._settle(request.num_bytes)

    def forget_parts(self, origin: str) -> None:
        """Drops the waiting parts of a gateway that has failed their requests."""
        self._parts.forget_origin(origin)

    def refuse_parts(self) -> None:
        """Refuses what waits for its other part: that would not be taken any more."""
        self._parts.let_go(self._was_let_go())

    async def run(self) -> None:
        """Serves until it is cancelled."""
        try:
            async with self._tasks:
                while True:
                    await self._serve(await self._next())
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)
            del self._session
            self.refuse_parts()
            while (request := self._queue.take()) is not None:
                self._origins.refuse(request.key, self._was_let_go())
                self._settle(request.num_bytes)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits, runs or is about to leave."""
        return self._idle.is_set() and not self._parts

    async def drained(self) -> None:
        """Returns once nothing waits, runs or is about to leave."""
        while not self.is_idle:
            await self._parts.none_left()
            await self._idle.wait()

    async def _next(self) -> StageRequest:
        while (request := self._queue.take()) is None:
            self._woken.clear()
            await self._woken.wait()
        return request

    async def _serve(self, request: StageRequest) -> None:
        num_bytes, leaving = request.num_bytes, False
        try:
            if not self._goes_on(request):
                return
            queue_ns = round((self._clock() - request.arrived_s) * 1e9)
            computed, compute_ns = await self._compute(request)
            if isinstance(computed, MeshError):
                self._origins.refuse(request.key, computed)
                return
            self._measured(compute_ns / 1e9)
            if not self._goes_on(request):
                return
            timing = HopTiming(
                stage=self.part.stage,
                worker=request.hop.worker,
                queue_ns=queue_ns,
                compute_ns=compute_ns,
                wire_ns=request.wire_ns,
            )
            frame = self._frame(request, computed, timing)
            await self._leaving_slots.acquire()
            self._tasks.create_task(
                self._leave(request.key, request.deadline, request.next_hop, frame, num_bytes)
            )
            leaving = True
        except MeshError as error:
            self._origins.refuse(request.key, error)
        except asyncio.CancelledError:
            self._origins.refuse(request.key, self._was_let_go())
            raise
        except Exception as error:  # noqa: BLE001 - one request's defect must not stop the stage
            self._origins.refuse(request.key, masked(error, stage=self.part.stage))
        finally:
            if not leaving:
                self._settle(num_bytes)

    def _goes_on(self, request: StageRequest) -> bool:
        cancelled = request.key in self._cancellations
        match request_flow.still_wanted(request, cancelled=cancelled, now_s=self._clock()):
            case GoOn():
                return True
            case Drop():
                self._tally.dropped += 1
            case Refuse(error):
                self._origins.refuse(request.key, error)
        return False

    async def _compute(self, request: StageRequest) -> tuple[dict[str, Tensor] | MeshError, int]:
        loop = asyncio.get_running_loop()
        self.num_running += 1
        try:
            return await loop.run_in_executor(self._thread, self._run_once, self._session, request)
        finally:
            self.num_running -= 1

    def _run_once(
        self, session: Runnable, request: StageRequest
    ) -> tuple[dict[str, Tensor] | MeshError, int]:
        """Runs in the stage's thread; returns errors, for the traceback of a raised one keeps tensors alive."""
        started_ns = perf_counter_ns()
        outcome: dict[str, Tensor] | MeshError
        try:
            outcome = session.run(request.tensors, request_flow.to_compute(request, self.part))
        except Exception as error:  # noqa: BLE001 - whatever it is, its origin is told
            outcome = told_to_origin(error, self.part.stage)
        return outcome, perf_counter_ns() - started_ns

    def _measured(self, compute_s: float) -> None:
        self._on_computed(compute_s)
        weight = MEAN_WEIGHT if self.mean_compute_s else 1.0
        self.mean_compute_s += weight * (compute_s - self.mean_compute_s)

    def _frame(self, request: StageRequest, computed: Mapping[str, Tensor], timing: HopTiming) -> Frame:
        tensors = request_flow.outgoing(request, self.part, computed)
        if request.next_hop is None:
            return outgoing_frames.result(request, tensors, timing, unix_ns=time_ns())
        return outgoing_frames.activation(request, tensors, timing, now_s=self._clock(), unix_ns=time_ns())

    async def _leave(
        self, key: RequestKey, deadline: Deadline, next_hop: Hop | None, frame: Frame, num_bytes: int
    ) -> None:
        try:
            if next_hop is None:
                await self._origins.answer(key, frame)
            else:
                await self._forwarder.forward(key, deadline, next_hop, frame)
        except asyncio.CancelledError:
            self._origins.refuse(key, self._was_let_go())
            raise
        except Exception as error:  # noqa: BLE001 - one request's defect must not stop the stage
            self._origins.refuse(key, masked(error, stage=self.part.stage))
        finally:
            self._leaving_slots.release()
            self._settle(num_bytes)

    def _sweep(self) -> None:
        """Makes room by ending those that wait in vain."""
        for request in self._queue.sweep(lambda waiting: waiting.deadline.at_s <= self._clock()):
            self._goes_on(request)
            self._settle(request.num_bytes)

    def _settle(self, num_bytes: int) -> None:
        self._num_pending -= 1
        self._num_bytes -= num_bytes
        if self._num_pending == 0:
            self._idle.set()

    def _was_let_go(self) -> StageGone:
        return StageGone(f"{self.part.stage} was let go")

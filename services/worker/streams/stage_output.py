"""How requests leave a stage: to the next one, or as answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import time_ns

from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import StageGone
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.telemetry.masking import masked
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Hop, HopTiming
from services.worker.requests import outgoing_frames, request_flow
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_request import StageRequest
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies

MAX_LEAVING = 16
"""Requests that are done here and wait for their next link, beside those of one run; beyond, the stage stands still."""


class StageOutput:
    """Sends what a stage computed, in the order in which it is told, without waiting for slow links one by one.

    Args:
        part: The stage.
        forwarder: The way to the next stage.
        origins: The way to the gateways.
        tasks: Where it runs what waits for links; its owner ends it.
        settle: Told the bytes of each request that has left, or never will.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        part: StagePart,
        forwarder: Forwarder,
        origins: GatewayReplies,
        tasks: asyncio.TaskGroup,
        settle: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self._part = part
        self._forwarder = forwarder
        self._origins = origins
        self._tasks = tasks
        self._settle = settle
        self._clock = clock
        rule = part.batching
        self._slots = asyncio.Semaphore(MAX_LEAVING + (0 if rule is None else rule.max_rows))

    def allocator(self, requests: Iterable[StageRequest]) -> Allocate | None:
        """Returns what finds room where all of the requests go from here; None: they go several ways, or there is none."""
        ways = {
            (request.key.origin, True) if request.next_hop is None else (request.next_hop.worker, False)
            for request in requests
        }
        if len(ways) != 1:
            return None
        ((peer, is_last),) = ways
        return self._origins.allocator(peer) if is_last else self._forwarder.allocator(WorkerId(peer))

    def stay_here(self, requests: Iterable[StageRequest]) -> bool:
        """Whether all of the requests go to another stage of this worker from here."""
        hops = [request.next_hop for request in requests]
        return all(hop is not None and self._forwarder.is_here(hop) for hop in hops)

    async def send(self, request: StageRequest, computed: Mapping[str, Tensor], timing: HopTiming) -> None:
        """Sends a request on; returns once there is room for it to leave. What this raises for is not settled.

        Args:
            request: It was run, and is still wanted.
            computed: What came of it.
            timing: Of that.

        Raises:
            InvalidRequest: A tensor that was asked for is not there (INVALID_ARGUMENT).
        """
        tensors = request_flow.outgoing(request, self._part, computed)
        next_hop, credit = request.next_hop, None
        if next_hop is None:
            frame = outgoing_frames.result(request, tensors, timing, unix_ns=time_ns())
        else:
            num_bytes = sum(tensor.byte_size for tensor in tensors)
            # At once: what runs next must know of it.
            taken, credit = self._forwarder.take_credit(next_hop, num_bytes)
            now_s = self._clock()
            if self._forwarder.is_here(next_hop):
                following = outgoing_frames.handed_over(request, tensors, timing, now_s=now_s, credit=credit)
                self._forwarder.hand_over(following)
                self._settle(request.num_bytes)
                return
            frame = outgoing_frames.activation(
                request, tensors, timing, now_s=now_s, unix_ns=time_ns(), credit=taken
            )
        if self._left_at_once(request, frame):
            self._settle(request.num_bytes)
            return
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            if credit is not None:
                credit.give_back()
            raise
        leaving = self._leave(request.key, request.deadline, next_hop, frame, credit)
        task = self._tasks.create_task(leaving)
        # Not in the task: one that is cancelled before it has begun does nothing at all.
        task.add_done_callback(partial(self._left, request.key, request.num_bytes, credit))

    def _left_at_once(self, request: StageRequest, frame: Frame) -> bool:
        if request.next_hop is None:
            return self._origins.try_answer(request.key, frame)
        return self._forwarder.try_forward(request.key, request.deadline, request.next_hop, frame)

    async def _leave(
        self,
        key: RequestKey,
        deadline: Deadline,
        next_hop: Hop | None,
        frame: Frame,
        credit: Credit | None,
    ) -> None:
        try:
            if next_hop is None:
                await self._origins.answer(key, frame)
            else:
                await self._forwarder.forward(key, deadline, next_hop, frame, credit, self._part.allowance)
        except Exception as error:  # noqa: BLE001 - one request's defect must not stop the stage
            if credit is not None:
                credit.give_back()
            self._origins.refuse(key, masked(error, stage=self._part.stage))

    def _left(self, key: RequestKey, num_bytes: int, credit: Credit | None, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if credit is not None:
                credit.give_back()
            self._origins.refuse(key, StageGone(f"{self._part.stage} was let go"))
        self._slots.release()
        self._settle(num_bytes)

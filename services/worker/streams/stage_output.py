"""Output of a stage: sends requests to the next stage, or as Results to their gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import time_ns

from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import StageNotHeld
from onnxmesh.ids import WorkerId
from onnxmesh.masking import masked
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Hop, HopTiming
from services.worker.requests import outgoing_frames, request_flow
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec
from services.worker.streams.outbound import Outbound

MAX_SENDING = 16
"""Requests, beside those of one run, that may wait for their next link; beyond, the stage does not run."""


class StageOutput:
    """Sends the requests of a stage in the order of the calls; one slow link does not block the others.

    Args:
        spec: The stage.
        outbound: Where the requests go.
        tasks: Runs the sends that wait for links; ended by its owner.
        settle: Called with the bytes of each request that was sent or has failed.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        spec: StageSpec,
        outbound: Outbound,
        *,
        tasks: asyncio.TaskGroup,
        settle: Callable[[int], None],
        clock: Clock,
    ) -> None:
        self._spec = spec
        self._forwarder = outbound.forwarder
        self._replies = outbound.replies
        self._tasks = tasks
        self._settle = settle
        self._clock = clock
        rule = spec.batching
        self._slots = asyncio.Semaphore(MAX_SENDING + (0 if rule is None else rule.max_rows))

    def allocator(self, requests: Iterable[StageRequest]) -> Allocate | None:
        """Returns the allocator of memory shared with the one peer that all requests go to; None where there is none."""
        peers = {
            (request.key.origin, True) if request.next_hop is None else (request.next_hop.worker, False)
            for request in requests
        }
        if len(peers) != 1:
            return None
        ((peer, is_gateway),) = peers
        return self._replies.allocator(peer) if is_gateway else self._forwarder.allocator(WorkerId(peer))

    def all_local(self, requests: Iterable[StageRequest]) -> bool:
        """Whether all requests go to another stage of this worker."""
        hops = [request.next_hop for request in requests]
        return all(hop is not None and self._forwarder.is_local(hop) for hop in hops)

    async def send(self, request: StageRequest, computed: Mapping[str, Tensor], timing: HopTiming) -> None:
        """Sends a request; returns once it is sent or has a slot to wait in. If it raises, the request is not settled.

        Args:
            request: It was run and is still wanted.
            computed: Its outputs.
            timing: Of this hop.

        Raises:
            InvalidRequest: A requested tensor does not exist (INVALID_ARGUMENT).
        """
        tensors = request_flow.outgoing_tensors(request, self._spec, computed)
        next_hop, credit = request.next_hop, None
        if next_hop is None:
            frame = outgoing_frames.result_frame(request, tensors, timing, unix_ns=time_ns())
        else:
            num_bytes = sum(tensor.byte_size for tensor in tensors)
            # Before anything is awaited: the next run must see the credit as taken.
            taken, credit = self._forwarder.take_credit(next_hop, num_bytes)
            now_s = self._clock()
            if self._forwarder.is_local(next_hop):
                self._forwarder.deliver_locally(
                    outgoing_frames.next_stage_request(request, tensors, timing, now_s=now_s, credit=credit)
                )
                self._settle(request.num_bytes)
                return
            frame = outgoing_frames.activation_frame(
                request, tensors, timing, now_s=now_s, unix_ns=time_ns(), credit=taken
            )
        if self._try_send(request, frame):
            self._settle(request.num_bytes)
            return
        try:
            await self._slots.acquire()
        except asyncio.CancelledError:
            if credit is not None:
                credit.give_back()
            raise
        sending = self._send(request.key, request.deadline, next_hop, frame, credit)
        task = self._tasks.create_task(sending)
        # Not in the task: one that is cancelled before its first step runs no `finally`.
        task.add_done_callback(partial(self._on_sent, request.key, request.num_bytes, credit))

    def _try_send(self, request: StageRequest, frame: Frame) -> bool:
        if request.next_hop is None:
            return self._replies.try_send_result(request.key, frame)
        return self._forwarder.try_forward(request.key, request.deadline, request.next_hop, frame)

    async def _send(
        self,
        key: RequestKey,
        deadline: Deadline,
        next_hop: Hop | None,
        frame: Frame,
        credit: Credit | None,
    ) -> None:
        try:
            if next_hop is None:
                await self._replies.send_result(key, frame)
            else:
                await self._forwarder.forward(key, deadline, next_hop, frame, credit, self._spec.allowance)
        except Exception as error:  # noqa: BLE001 - one request's defect must not stop the stage
            if credit is not None:
                credit.give_back()
            self._replies.refuse(key, masked(error, stage=self._spec.stage))

    def _on_sent(
        self, key: RequestKey, num_bytes: int, credit: Credit | None, task: asyncio.Task[None]
    ) -> None:
        if task.cancelled():
            if credit is not None:
                credit.give_back()
            self._replies.refuse(key, StageNotHeld(f"{self._spec.stage} was evicted"))
        self._slots.release()
        self._settle(num_bytes)

"""Forwards Activations to the next worker of their route."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic

from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link.links import Links
from onnxmesh.rpc.link_policy.credits import MIN_CREDITED_BYTES, UNBOUNDED, Credit, Credits, NextStage
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.compression.compression_choice import NO_LOSS, LossAllowance
from onnxmesh.v1.frame_pb2 import Credit as CreditFrame
from onnxmesh.v1.frame_pb2 import Hop, LinkMeasurement
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest
from services.worker.streams.gateway_replies import GatewayReplies

MAX_TRACKED_REQUESTS = 512
"""Requests last sent on a link, which fail if the link is lost."""

MAX_TRACKED_WORKERS = 64
"""Workers last sent to, whose links are reported."""


class Forwarder:
    """Sends Activations to the next hop, and fails those that a lost link may have lost.

    A lost link loses the frames that are queued on it, and which of them the peer has read is unknown. So every
    request lately sent on it fails at its gateway, which ignores the Failure if it has the Result already.

    Args:
        worker: This worker.
        links: Links to peers.
        replies: Sends Failures to gateways.
        counters: Counts forwarded requests.
        deliver: Called with a request for another stage of this worker.
        on_capacity: Called when stages that lacked credit may continue.
        clock: Seconds, monotonic.
        compressor: Compresses Activations for slow links; None: a new one.
    """

    def __init__(
        self,
        worker: WorkerId,
        links: Links,
        replies: GatewayReplies,
        *,
        counters: RequestCounters,
        deliver: Callable[[StageRequest], None],
        on_capacity: Callable[[], None] = lambda: None,
        clock: Clock = monotonic,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._links = links
        self._replies = replies
        self._counters = counters
        self._deliver = deliver
        self._on_capacity = on_capacity
        self._credits = Credits()
        self._clock = clock
        self._compressor = compressor or Compressor()
        self._sent: dict[Link, OrderedDict[RequestKey, Deadline]] = {}
        self._next_workers: OrderedDict[str, None] = OrderedDict()

    @property
    def capacity(self) -> Callable[[StageRequest], int] | None:
        """Returns for a request how many such requests its next stage has credit for; None: no limit applies."""
        return self._capacity if self._credits else None

    def take_credit(self, hop: Hop, num_bytes: int) -> tuple[int, Credit | None]:
        """Takes credit for a request of so many bytes; returns the bytes taken and the credit to return on failure."""
        if num_bytes < MIN_CREDITED_BYTES:
            return 0, None
        next_stage = _next_stage(hop)
        self._credits.take(next_stage, num_bytes)
        return num_bytes, Credit(partial(self._return_credit, next_stage, num_bytes))

    def on_credit(self, link: Link, credit: CreditFrame) -> None:
        """Handles credit that a next worker returned."""
        self._return_credit((WorkerId(link.peer), StageKey(credit.stage)), credit.credit)

    def is_local(self, hop: Hop) -> bool:
        """Whether a hop is to this worker itself."""
        return hop.worker == self._worker

    def deliver_locally(self, request: StageRequest) -> None:
        """Delivers a request to another stage of this worker."""
        self._counters.completed += 1
        self._deliver(request)

    def try_forward(self, key: RequestKey, deadline: Deadline, hop: Hop, activation: Frame) -> bool:
        """Sends an Activation as `forward` does, if that needs no waiting; returns whether it is done."""
        link = self._links.get(hop.worker)
        if link is None or not link.try_send(activation):
            return False
        self._track(link, key, deadline)
        self._counters.completed += 1
        return True

    async def forward(
        self,
        key: RequestKey,
        deadline: Deadline,
        hop: Hop,
        activation: Frame,
        credit: Credit | None = None,
        allowance: LossAllowance = NO_LOSS,
    ) -> None:
        """Sends an Activation; if the next worker cannot be reached, the attempt fails at its gateway.

        Args:
            key: The attempt.
            deadline: Of the request.
            hop: To another worker.
            activation: The frame.
            credit: Taken for it; returned here if it cannot be sent.
            allowance: Which of its tensors may lose bits on a slow link.
        """
        if self.try_forward(key, deadline, hop, activation):
            return
        try:
            link = await self._links.connect(hop.worker, hop.address)
            self._track(link, key, deadline)
            await link.send(await self._compressor.compress(activation, link, allowance))
        except MeshError as error:
            if credit is not None:
                credit.give_back()
            unreachable = Unavailable(f"{self._worker} cannot reach {hop.worker}: {error.message}")
            self._replies.refuse(key, unreachable, WorkerId(hop.worker))
        else:
            self._counters.completed += 1

    def allocator(self, worker: WorkerId) -> Allocate | None:
        """Returns the allocator of memory shared with a worker; None where there is none, or it is this worker."""
        link = None if worker == self._worker else self._links.get(worker)
        return None if link is None else link.allocator

    def link_measurements(self) -> list[LinkMeasurement]:
        """Returns the estimates of the links to the workers that were lately sent to."""
        found = []
        for worker in self._next_workers:
            link = self._links.get(worker)
            if link is not None and (estimate := link.estimate) is not None:
                found.append(
                    LinkMeasurement(
                        node=worker,
                        round_trip_us=max(1, round(estimate.rtt_s * 1e6)),
                        bytes_per_s=round(estimate.bytes_per_s or 0),
                    )
                )
        return found

    def on_link_lost(self, link: Link) -> None:
        """Fails the requests that were lately sent on a link that ended."""
        self._credits.remove_worker(WorkerId(link.peer))
        self._on_capacity()
        now_s = self._clock()
        error = Unavailable(f"the stream from {self._worker} to {link.peer} ended")
        for key, deadline in self._sent.pop(link, {}).items():
            if deadline.at_s > now_s:
                self._replies.report_failure(key, error, WorkerId(link.peer))

    def _capacity(self, request: StageRequest) -> int:
        hop = request.next_hop
        return UNBOUNDED if hop is None else self._credits.headroom(_next_stage(hop))

    def _return_credit(self, next_stage: NextStage, num_bytes: int) -> None:
        self._credits.give_back(next_stage, num_bytes)
        self._on_capacity()

    def _track(self, link: Link, key: RequestKey, deadline: Deadline) -> None:
        self._next_workers[link.peer] = None
        self._next_workers.move_to_end(link.peer)
        if len(self._next_workers) > MAX_TRACKED_WORKERS:
            self._next_workers.popitem(last=False)
        if not link.is_open:
            return
        sent = self._sent.setdefault(link, OrderedDict())
        sent[key] = deadline
        if len(sent) > MAX_TRACKED_REQUESTS:
            sent.popitem(last=False)


def _next_stage(hop: Hop) -> NextStage:
    return WorkerId(hop.worker), StageKey(hop.stage)

"""The way to the next worker of a route."""

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

MAX_REMEMBERED = 512
"""Requests last sent on a link, which are failed if it breaks."""

MAX_LINKS = 64
"""Workers lately sent to whose ways are told."""


class Forwarder:
    """Sends Activations to the next hop, and tells origins of those that got lost.

    A broken link loses the frames that wait on it, and nobody knows which the peer has read. So every
    request lately sent there is failed to its origin, which ignores what it has an answer to.

    Args:
        worker: This worker.
        links: The streams to peers.
        origins: Who is told of failures.
        tally: Where it counts what becomes of requests.
        take: Takes a request for another stage of this worker.
        on_capacity: Told that stages which stood still for want of credit may go on.
        compressor: Writes it in fewer bytes where the way is slow; None: a new one.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        worker: WorkerId,
        links: Links,
        origins: GatewayReplies,
        tally: RequestCounters,
        take: Callable[[StageRequest], None],
        on_capacity: Callable[[], None] = lambda: None,
        clock: Clock = monotonic,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._links = links
        self._origins = origins
        self._tally = tally
        self._take = take
        self._on_capacity = on_capacity
        self._credits = Credits()
        self._clock = clock
        self._compressor = compressor or Compressor()
        self._sent: dict[Link, OrderedDict[RequestKey, Deadline]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()

    @property
    def room(self) -> Callable[[StageRequest], int] | None:
        """Tells for a request how many like it may go on to its next stage; None: all may."""
        return self._room if self._credits else None

    def take_credit(self, hop: Hop, num_bytes: int) -> tuple[int, Credit | None]:
        """Takes credit for a request that is about to be forwarded: how much, and what gives it back if it is not."""
        if num_bytes < MIN_CREDITED_BYTES:
            return 0, None
        next_stage = _next_stage(hop)
        self._credits.take(next_stage, num_bytes)
        return num_bytes, Credit(partial(self._give_back, next_stage, num_bytes))

    def credit_returned(self, link: Link, credit: CreditFrame) -> None:
        """Takes credit that came back from a next worker."""
        self._give_back((WorkerId(link.peer), StageKey(credit.stage)), credit.credit)

    def is_here(self, hop: Hop) -> bool:
        """Whether a hop is to this worker itself: through no wire."""
        return hop.worker == self._worker

    def hand_over(self, request: StageRequest) -> None:
        """Takes a request to another stage of this worker."""
        self._tally.completed += 1
        self._take(request)

    def try_forward(self, key: RequestKey, deadline: Deadline, hop: Hop, activation: Frame) -> bool:
        """Does what `forward` does if that takes no wait; returns whether it did."""
        link = self._links.get(hop.worker)
        if link is None or not link.try_send(activation):
            return False
        self._sent_on(link, key, deadline)
        self._tally.completed += 1
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
        """Sends an Activation on; a next worker that cannot be reached is told to the origin at once.

        Args:
            key: The attempt.
            deadline: Of the request.
            hop: Where it goes: another worker.
            activation: What is sent.
            credit: What was taken for it: given back here where it does not get there.
            allowance: What of it may lose bits on a slow link.
        """
        if self.try_forward(key, deadline, hop, activation):
            return
        try:
            link = await self._links.connect(hop.worker, hop.address)
            self._sent_on(link, key, deadline)
            await link.send(await self._compressor.compress(activation, link, allowance))
        except MeshError as error:
            if credit is not None:
                credit.give_back()
            told = Unavailable(f"{self._worker} cannot reach {hop.worker}: {error.message}")
            self._origins.refuse(key, told, WorkerId(hop.worker))
        else:
            self._tally.completed += 1

    def allocator(self, worker: WorkerId) -> Allocate | None:
        """Returns what finds room that this worker sees, too; None where there is none, or none is needed."""
        link = None if worker == self._worker else self._links.get(worker)
        return None if link is None else link.allocator

    def ways(self) -> list[LinkMeasurement]:
        """Returns what is known of the ways to the workers that were lately sent to."""
        found = []
        for worker in self._next:
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

    def link_lost(self, link: Link) -> None:
        """Fails what was lately sent on a link that ended."""
        self._credits.remove_worker(WorkerId(link.peer))
        self._on_capacity()
        now_s = self._clock()
        error = Unavailable(f"the stream from {self._worker} to {link.peer} ended")
        for key, deadline in self._sent.pop(link, {}).items():
            if deadline.at_s > now_s:
                self._origins.fail(key, error, WorkerId(link.peer))

    def _room(self, request: StageRequest) -> int:
        hop = request.next_hop
        return UNBOUNDED if hop is None else self._credits.headroom(_next_stage(hop))

    def _give_back(self, next_stage: NextStage, num_bytes: int) -> None:
        self._credits.give_back(next_stage, num_bytes)
        self._on_capacity()

    def _sent_on(self, link: Link, key: RequestKey, deadline: Deadline) -> None:
        self._next[link.peer] = None
        self._next.move_to_end(link.peer)
        if len(self._next) > MAX_LINKS:
            self._next.popitem(last=False)
        if not link.is_open:
            return
        sent = self._sent.setdefault(link, OrderedDict())
        sent[key] = deadline
        if len(sent) > MAX_REMEMBERED:
            sent.popitem(last=False)


def _next_stage(hop: Hop) -> NextStage:
    return WorkerId(hop.worker), StageKey(hop.stage)

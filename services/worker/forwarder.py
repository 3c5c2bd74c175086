"""The way to the next worker of a route."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.compression_choice import NO_LOSS, Allowance
from onnxmesh.rpc.compressor import Compressor
from onnxmesh.rpc.frames import Frame
from onnxmesh.rpc.link import Link
from onnxmesh.rpc.links import Links
from onnxmesh.v1.frame_pb2 import Hop, MeasuredWay
from services.worker.origins import Origins
from services.worker.request_key import RequestKey
from services.worker.tally import Tally

MAX_REMEMBERED = 512
"""Requests last sent on a link, which are failed if it breaks."""

MAX_WAYS = 64
"""Workers lately sent to whose ways are told."""


class Forwarder:
    """Sends Activations to the next hop, and tells origins of those that got lost.

    A broken link loses the frames that wait on it, and nobody knows which the peer has read. So every
    request lately sent there is failed to its origin, which ignores what it has an answer to.

    Args:
        worker: This worker: a hop to it goes through no wire.
        links: The streams to peers.
        origins: Who is told of failures.
        tally: Where it counts what becomes of requests.
        receive: Takes an Activation as if it had come from a peer.
        compressor: Writes it in fewer bytes where the way is slow; None: a new one.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        worker: WorkerId,
        links: Links,
        origins: Origins,
        tally: Tally,
        receive: Callable[[Frame], None],
        clock: Clock = monotonic,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._links = links
        self._origins = origins
        self._tally = tally
        self._receive = receive
        self._clock = clock
        self._compressor = compressor or Compressor()
        self._sent: dict[Link, OrderedDict[RequestKey, Deadline]] = {}
        self._next: OrderedDict[str, None] = OrderedDict()

    async def forward(
        self,
        key: RequestKey,
        deadline: Deadline,
        hop: Hop,
        activation: Frame,
        allowance: Allowance = NO_LOSS,
    ) -> None:
        """Sends an Activation on; a next worker that cannot be reached is told to the origin at once.

        Args:
            key: Of the request.
            deadline: Of the request.
            hop: Where it goes.
            activation: What goes there.
            allowance: What of it may lose bits on a slow link.
        """
        if hop.worker == self._worker:
            self._tally.completed += 1
            self._receive(activation)
            return
        try:
            link = await self._links.connect(hop.worker, hop.address)
            self._remember(link, key, deadline)
            self._next[hop.worker] = None
            self._next.move_to_end(hop.worker)
            if len(self._next) > MAX_WAYS:
                self._next.popitem(last=False)
            await link.send(await self._compressor.packed(activation, link, allowance))
        except MeshError as error:
            told = Unavailable(f"{self._worker} cannot reach {hop.worker}: {error.message}")
            self._origins.refuse(key, told, WorkerId(hop.worker))
        else:
            self._tally.completed += 1

    def ways(self) -> list[MeasuredWay]:
        """Returns what is known of the ways to the workers that were lately sent to."""
        found = []
        for worker in self._next:
            link = self._links.get(worker)
            if link is not None and (way := link.way) is not None:
                found.append(
                    MeasuredWay(
                        node=worker,
                        round_trip_us=max(1, round(way.round_trip_s * 1e6)),
                        bytes_per_s=round(way.bytes_per_s or 0),
                    )
                )
        return found

    def link_lost(self, link: Link) -> None:
        """Fails what was lately sent on a link that ended."""
        now_s = self._clock()
        error = Unavailable(f"the stream from {self._worker} to {link.peer} ended")
        for key, deadline in self._sent.pop(link, {}).items():
            if deadline.at_s > now_s:
                self._origins.fail(key, error, WorkerId(link.peer))

    def _remember(self, link: Link, key: RequestKey, deadline: Deadline) -> None:
        if not link.is_open:
            return
        sent = self._sent.setdefault(link, OrderedDict())
        sent[key] = deadline
        if len(sent) > MAX_REMEMBERED:
            sent.popitem(last=False)

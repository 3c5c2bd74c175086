"""The gateways that wait for answers."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.v1.frame_pb2 import FrameHeader, Load
from services.worker.requests import outgoing_frames
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_flow import counts_as_drop
from services.worker.requests.request_key import RequestKey

LOAD_INTERVAL_S = 0.05
"""The load goes with an answer if this gateway has not heard it for so long."""

_log = structlog.get_logger(__name__)


class GatewayReplies:
    """Answers requests on the links that their gateways opened.

    Args:
        worker: This worker.
        link_of: Returns the open link to a peer, or None.
        tally: Where it counts what becomes of requests.
        load: Returns this worker's load now.
        clock: Seconds, monotonic.
        compressor: Writes answers in fewer bytes where the way is slow; None: a new one.
    """

    def __init__(
        self,
        worker: WorkerId,
        link_of: Callable[[str], Link | None],
        tally: RequestCounters,
        load: Callable[[], Load],
        clock: Clock = monotonic,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._link_of = link_of
        self._tally = tally
        self._load = load
        self._clock = clock
        self._compressor = compressor or Compressor()
        self._links: dict[str, Link] = {}
        self._told_load_s: dict[str, float] = {}

    def link_up(self, link: Link) -> None:
        """Takes note of a link that opened."""
        self._links[link.peer] = link

    def link_lost(self, link: Link) -> None:
        """Takes note of a link that ended."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._told_load_s.pop(link.peer, None)

    def is_here(self, origin: str) -> bool:
        """Whether a link to this gateway is open."""
        return self._link_of(origin) is not None

    def try_answer(self, key: RequestKey, result: Frame) -> bool:
        """Does what `answer` does if that takes no wait; returns whether it did."""
        link = self._link_of(key.origin)
        if link is None:
            self._drop(key)
        elif link.try_send(result):
            self._answered(link)
        else:
            return False
        return True

    def allocator(self, origin: str) -> Allocate | None:
        """Returns what finds room that this gateway sees, too; None where there is none."""
        link = self._link_of(origin)
        return None if link is None else link.allocator

    async def answer(self, key: RequestKey, result: Frame) -> None:
        """Sends a Result; one whose gateway is gone is dropped, for nobody waits for it."""
        link = self._link_of(key.origin)
        if link is None:
            self._drop(key)
            return
        try:
            await link.send(await self._compressor.compress(result, link))
        except Unavailable:
            self._drop(key)
        else:
            self._answered(link)

    def _drop(self, key: RequestKey) -> None:
        self._tally.dropped += 1
        _log.debug("answer_dropped", origin=key.origin, number=key.number)

    def _answered(self, link: Link) -> None:
        self._tally.completed += 1
        now_s = self._clock()
        if now_s - self._told_load_s.get(link.peer, 0.0) >= LOAD_INTERVAL_S:
            self._tell_load(link, self._load(), now_s)

    def refuse(self, key: RequestKey, error: MeshError, at_fault: WorkerId | None = None) -> None:
        """Tells the origin that this attempt is over, and counts it.

        Args:
            key: The attempt.
            error: Why.
            at_fault: The worker that cannot go on; by default this one.
        """
        if counts_as_drop(error):
            self._tally.dropped += 1
        else:
            self._tally.failed += 1
        self.fail(key, error, at_fault)

    def fail(self, key: RequestKey, error: MeshError, at_fault: WorkerId | None = None) -> None:
        """Tells the origin the same of an attempt that has been counted before."""
        if (link := self._link_of(key.origin)) is not None:
            link.send_soon(outgoing_frames.failure(key, error, at_fault or self._worker))

    def tell_load(self, load: Load) -> None:
        """Sends the load on every link; who does not care for it ignores it."""
        now_s = self._clock()
        for link in list(self._links.values()):
            self._tell_load(link, load, now_s)

    def _tell_load(self, link: Link, load: Load, now_s: float) -> None:
        self._told_load_s[link.peer] = now_s
        link.send_soon(FrameHeader(load=load))

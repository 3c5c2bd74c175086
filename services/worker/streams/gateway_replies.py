"""Replies to gateways: Results, Failures and this worker's load."""

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
"""A Result is followed by the load if its gateway has not received one for this long."""

_log = structlog.get_logger(__name__)


class GatewayReplies:
    """Ends requests on the links that their gateways opened, and counts how they ended.

    Args:
        worker: This worker.
        link_of: Returns the open link to a peer, or None.
        counters: Counts how requests ended.
        load: Returns this worker's load now.
        clock: Seconds, monotonic.
        compressor: Compresses Results for slow links; None: a new one.
    """

    def __init__(
        self,
        worker: WorkerId,
        link_of: Callable[[str], Link | None],
        *,
        counters: RequestCounters,
        load: Callable[[], Load],
        clock: Clock = monotonic,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._link_of = link_of
        self._counters = counters
        self._load = load
        self._clock = clock
        self._compressor = compressor or Compressor()
        self._links: dict[str, Link] = {}
        self._load_sent_s: dict[str, float] = {}

    def on_link_up(self, link: Link) -> None:
        """Adds a link that was opened."""
        self._links[link.peer] = link

    def on_link_lost(self, link: Link) -> None:
        """Removes a link that ended."""
        if self._links.get(link.peer) is link:
            del self._links[link.peer]
            self._load_sent_s.pop(link.peer, None)

    def is_connected(self, origin: str) -> bool:
        """Whether a link to this gateway is open."""
        return self._link_of(origin) is not None

    def allocator(self, origin: str) -> Allocate | None:
        """Returns the allocator of memory shared with this gateway; None where there is none."""
        link = self._link_of(origin)
        return None if link is None else link.allocator

    def try_send_result(self, key: RequestKey, result: Frame) -> bool:
        """Sends a Result as `send_result` does, if that needs no waiting; returns whether it is done."""
        link = self._link_of(key.origin)
        if link is None:
            self.drop(key)
        elif link.try_send(result):
            self._complete(link)
        else:
            return False
        return True

    async def send_result(self, key: RequestKey, result: Frame) -> None:
        """Sends a Result; the request is dropped if its gateway is disconnected."""
        link = self._link_of(key.origin)
        if link is None:
            self.drop(key)
            return
        try:
            await link.send(await self._compressor.compress(result, link))
        except Unavailable:
            self.drop(key)
        else:
            self._complete(link)

    def drop(self, key: RequestKey) -> None:
        """Ends a request without an answer and counts it as dropped."""
        self._counters.dropped += 1
        _log.debug("request_dropped", origin=key.origin, number=key.number)

    def refuse(self, key: RequestKey, error: MeshError, at_fault: WorkerId | None = None) -> None:
        """Ends an attempt with a Failure and counts it.

        Args:
            key: The attempt.
            error: Why it ended.
            at_fault: The worker at fault; None: this one.
        """
        if counts_as_drop(error):
            self._counters.dropped += 1
        else:
            self._counters.failed += 1
        self.report_failure(key, error, at_fault)

    def report_failure(self, key: RequestKey, error: MeshError, at_fault: WorkerId | None = None) -> None:
        """Sends a Failure of an attempt that has been counted before."""
        if (link := self._link_of(key.origin)) is not None:
            link.send_soon(outgoing_frames.failure_header(key, error, at_fault or self._worker))

    def publish_load(self, load: Load) -> None:
        """Sends the load on every link; peers that are no gateways ignore it."""
        now_s = self._clock()
        for link in list(self._links.values()):
            self._send_load(link, load, now_s)

    def _complete(self, link: Link) -> None:
        self._counters.completed += 1
        now_s = self._clock()
        if now_s - self._load_sent_s.get(link.peer, 0.0) >= LOAD_INTERVAL_S:
            self._send_load(link, self._load(), now_s)

    def _send_load(self, link: Link, load: Load, now_s: float) -> None:
        self._load_sent_s[link.peer] = now_s
        link.send_soon(FrameHeader(load=load))

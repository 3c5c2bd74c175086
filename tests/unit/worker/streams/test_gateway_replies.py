"""Replies to gateways."""

from __future__ import annotations

from onnxmesh.errors import Cancelled, DeadlineExceeded, Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1.frame_pb2 import FrameHeader, Load, Result
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.streams.gateway_replies import LOAD_INTERVAL_S, GatewayReplies
from tests.unit.worker.running_stage import GatewayLink

KEY = RequestKey("gateway", 1, 0)
RESULT = Frame(FrameHeader(result=Result(key=KEY.to_proto())))


class Replies:
    """Replies of worker `w` to one gateway, and a clock."""

    def __init__(self):
        self.now_s = 100.0
        self.link = GatewayLink()
        self.counters = RequestCounters()
        self.replies = GatewayReplies(
            WorkerId("w"),
            lambda _: self.link,
            counters=self.counters,
            load=lambda: Load(queued=3),
            clock=lambda: self.now_s,
        )

    @property
    def counts(self):
        return self.counters.completed, self.counters.dropped, self.counters.failed


def test_gateway_replies_send_a_result_and_now_and_then_the_load():
    """At most once in the interval for each gateway."""
    it = Replies()
    for _ in range(2):
        assert it.replies.try_send_result(KEY, RESULT)
    assert len(it.link.loads) == 1
    it.now_s += 2 * LOAD_INTERVAL_S
    assert it.replies.try_send_result(KEY, RESULT)
    assert [load.queued for load in it.link.loads] == [3, 3]
    assert len(it.link.frames) == 3
    assert it.counts == (3, 0, 0)


async def test_gateway_replies_drop_a_result_without_a_link():
    """At once, and after waiting for a link that is lost meanwhile."""
    it = Replies()
    link, it.link = it.link, None
    assert it.replies.try_send_result(KEY, RESULT)
    await it.replies.send_result(KEY, RESULT)
    assert not it.replies.is_connected("gateway")

    async def lost(frame):
        raise Unavailable("the link was lost")

    it.link, link.send, link.estimate, link.same_host = link, lost, None, False
    await it.replies.send_result(KEY, RESULT)
    assert it.counts == (0, 3, 0)


def test_gateway_replies_count_late_and_cancelled_requests_as_dropped():
    """Other errors as failed; a failure that was counted before is only sent."""
    it = Replies()
    it.replies.refuse(KEY, DeadlineExceeded("late"))
    it.replies.refuse(KEY, Cancelled("cancelled"))
    it.replies.refuse(KEY, Unavailable("lost"), WorkerId("b"))
    it.replies.report_failure(KEY, Unavailable("lost later"))
    assert it.counts == (0, 2, 1)
    assert [failure.worker for failure in it.link.failures] == ["w", "w", "b", "w"]


def test_gateway_replies_publish_the_load_on_every_open_link():
    """A link that was replaced before it ended stays replaced."""
    it, older, newer = Replies(), GatewayLink(), GatewayLink()
    other = GatewayLink("other")
    for link in (older, newer, other):
        it.replies.on_link_up(link)
    it.replies.on_link_lost(older)
    it.replies.on_link_lost(other)
    it.replies.publish_load(Load(queued=9))
    assert [len(link.loads) for link in (older, newer, other)] == [0, 1, 0]

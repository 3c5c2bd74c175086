"""Credit on its way: taken for what is forwarded, given back for what comes."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import LEAST_BYTES, UNBOUNDED, WINDOW_BYTES
from onnxmesh.v1 import frame_pb2
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.stages.frame_handler import FrameHandler
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.unit.worker.stage_requests import request

FOREVER = Deadline(math.inf)
KEY = RequestKey("gateway", 1, 0)


class FakeLink:
    """A link to another worker, which may be broken."""

    is_open = True
    peer = "b"

    def __init__(self):
        self.broken = False
        self.sent = []
        self.said = []

    def try_send(self, frame):
        return False

    async def send(self, frame):
        if self.broken:
            raise Unavailable("it is broken")
        self.sent.append(frame)

    def send_soon(self, header):
        self.said.append(header)


class FakeLinks:
    """The links of one worker: one at a time, to `b`."""

    def __init__(self):
        self.link = FakeLink()

    def get(self, peer):
        return self.link if peer == "b" else None

    async def connect(self, peer, address):
        assert peer == "b"
        return self.link


class Sender:
    """A forwarder of worker `a`, and how often it said that there is room."""

    def __init__(self):
        self.links = FakeLinks()
        self.received = []
        self.num_rooms = 0
        tally = RequestCounters()
        self.forwarder = Forwarder(
            WorkerId("a"),
            self.links,
            GatewayReplies(WorkerId("a"), lambda _: None, tally, frame_pb2.Load),
            tally,
            self.received.append,
            on_capacity=self._on_capacity,
        )

    def _on_capacity(self):
        self.num_rooms += 1

    def room(self, worker="b"):
        waiting = request(2, stages=("m/1/0", "m/1/1"))
        waiting.header.route.hops[1].worker = worker
        room = self.forwarder.capacity
        return UNBOUNDED if room is None else room(waiting)

    async def forward(self, num_bytes=WINDOW_BYTES):
        hop = frame_pb2.Hop(stage="m/1/1", worker="b")
        taken, credit = self.forwarder.take_credit(hop, num_bytes)
        frame = Frame(frame_pb2.FrameHeader(activation=frame_pb2.Activation(credit=taken)))
        await self.forwarder.forward(KEY, FOREVER, hop, frame, credit)


async def test_what_was_sent_counts_until_the_next_worker_gives_its_credit_back():
    """Small requests do not count."""
    sender = Sender()
    await sender.forward(num_bytes=LEAST_BYTES - 1)
    assert sender.room() == UNBOUNDED
    await sender.forward()
    await sender.forward()
    assert (sender.room(), sender.room("c"), sender.num_rooms) == (0, UNBOUNDED, 0)
    returned = frame_pb2.Credit(stage="m/1/1", credit=WINDOW_BYTES)
    sender.forwarder.on_credit(sender.links.link, returned)
    assert (sender.room(), sender.num_rooms) == (1, 1)


async def test_what_did_not_get_there_does_not_count():
    """It failed, or its link was lost afterwards."""
    sender = Sender()
    sender.links.link.broken = True
    await sender.forward()
    await sender.forward()
    assert sender.room() == 2
    sender.links.link.broken = False
    await sender.forward()
    await sender.forward()
    assert sender.room() == 0
    rooms = sender.num_rooms
    sender.forwarder.on_link_lost(sender.links.link)
    assert (sender.room(), sender.num_rooms) == (UNBOUNDED, rooms + 1)


async def test_a_stage_of_the_same_worker_gives_its_credit_back_directly():
    """Without any frame."""
    sender = Sender()
    hop = frame_pb2.Hop(stage="m/1/1", worker="a")
    for _ in range(2):
        _, credit = sender.forwarder.take_credit(hop, WINDOW_BYTES)
        sender.forwarder.deliver_locally(replace(request(1), credit=credit))
    assert sender.room("a") == 0
    for each in sender.received:
        each.return_credit()
    assert sender.room("a") == 2


@pytest.mark.parametrize(("hop", "stage"), [(1, "m/1/1"), (9, "")])
def test_a_request_that_is_refused_when_it_comes_gives_its_credit_back(hop, stage):
    """For a stage that is not here, or of no known form: its sender would wait forever else."""
    tally, link = RequestCounters(), FakeLink()
    origins = GatewayReplies(WorkerId("w"), lambda _: None, tally, frame_pb2.Load)
    intake = FrameHandler(WorkerId("w"), StageTable(), origins, Cancellations(), tally)
    header = request(1, hop=1).header
    header.hop = hop
    header.credit = 5
    intake.on_frame(link, Frame(frame_pb2.FrameHeader(activation=header)))
    assert [said.credit for said in link.said] == [frame_pb2.Credit(stage=stage, credit=5)]
    assert tally.failed == 1

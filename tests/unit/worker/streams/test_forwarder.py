"""The forwarder: credit, local delivery, links that are lost."""

from __future__ import annotations

import math
from dataclasses import replace

from onnxmesh.deadline import Deadline
from onnxmesh.errors import Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import MIN_CREDITED_BYTES, UNBOUNDED, WINDOW_BYTES
from onnxmesh.rpc.link_policy.link_estimator import LinkEstimate
from onnxmesh.v1 import frame_pb2
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.unit.worker.running_stage import GatewayLink
from tests.unit.worker.stage_requests import request

FOREVER = Deadline(math.inf)
KEY = RequestKey("gateway", 1, 0)


class FakeLink:
    """A link to another worker, which may be broken."""

    is_open = True
    peer = "b"
    estimate = None

    def __init__(self):
        self.broken = False
        self.sent = []
        self.headers = []

    def try_send(self, frame):
        return False

    async def send(self, frame):
        if self.broken:
            raise Unavailable("it is broken")
        self.sent.append(frame)

    def send_soon(self, header):
        self.headers.append(header)


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
    """A forwarder of worker `a` that counts how often it reports capacity."""

    def __init__(self):
        self.links = FakeLinks()
        self.received = []
        self.num_reports = 0
        self.counters = RequestCounters()
        self.gateway = GatewayLink()
        self.forwarder = Forwarder(
            WorkerId("a"),
            self.links,
            GatewayReplies(
                WorkerId("a"), lambda _: self.gateway, counters=self.counters, load=frame_pb2.Load
            ),
            counters=self.counters,
            deliver=self.received.append,
            on_capacity=self._on_capacity,
        )

    def _on_capacity(self):
        self.num_reports += 1

    def capacity(self, worker="b"):
        waiting = request(2, stages=("m/1/0", "m/1/1"))
        waiting.header.route.hops[1].worker = worker
        capacity = self.forwarder.capacity
        return UNBOUNDED if capacity is None else capacity(waiting)

    async def forward(self, num_bytes=WINDOW_BYTES, key=KEY, deadline=FOREVER):
        hop = frame_pb2.Hop(stage="m/1/1", worker="b")
        taken, credit = self.forwarder.take_credit(hop, num_bytes)
        frame = Frame(frame_pb2.FrameHeader(activation=frame_pb2.Activation(credit=taken)))
        await self.forwarder.forward(key, deadline, hop, frame, credit)


async def test_forwarder_takes_credit_until_the_next_worker_returns_it():
    """Small requests need none."""
    sender = Sender()
    await sender.forward(num_bytes=MIN_CREDITED_BYTES - 1)
    assert sender.capacity() == UNBOUNDED
    await sender.forward()
    await sender.forward()
    assert (sender.capacity(), sender.capacity("c"), sender.num_reports) == (0, UNBOUNDED, 0)
    returned = frame_pb2.Credit(stage="m/1/1", credit=WINDOW_BYTES)
    sender.forwarder.on_credit(sender.links.link, returned)
    assert (sender.capacity(), sender.num_reports) == (1, 1)


async def test_forwarder_returns_the_credit_of_requests_that_did_not_arrive():
    """The send failed, or the link was lost afterwards."""
    sender = Sender()
    sender.links.link.broken = True
    await sender.forward()
    await sender.forward()
    assert sender.capacity() == 2
    sender.links.link.broken = False
    await sender.forward()
    await sender.forward()
    assert sender.capacity() == 0
    reports = sender.num_reports
    sender.forwarder.on_link_lost(sender.links.link)
    assert (sender.capacity(), sender.num_reports) == (UNBOUNDED, reports + 1)


async def test_forwarder_takes_credit_for_local_stages_too():
    """It returns without a frame."""
    sender = Sender()
    hop = frame_pb2.Hop(stage="m/1/1", worker="a")
    for _ in range(2):
        _, credit = sender.forwarder.take_credit(hop, WINDOW_BYTES)
        sender.forwarder.deliver_locally(replace(request(1), credit=credit))
    assert sender.capacity("a") == 0
    for each in sender.received:
        each.return_credit()
    assert sender.capacity("a") == 2


async def test_forwarder_fails_what_was_sent_on_a_lost_link():
    """At the gateway, with the next worker at fault; a request whose deadline has passed needs no Failure."""
    sender = Sender()
    await sender.forward()
    sender.forwarder._clock = lambda: 100.0
    await sender.forward(key=RequestKey("gateway", 2, 0), deadline=Deadline(99.0))
    sender.forwarder.on_link_lost(sender.links.link)
    (failure,) = sender.gateway.failures
    assert (failure.key.number, failure.worker, failure.reason) == (1, "b", "UNAVAILABLE")
    assert (sender.counters.completed, sender.counters.failed) == (2, 0)


async def test_forwarder_reports_the_links_to_workers_that_it_sent_to():
    """In microseconds, at least 1; a link without an estimate is left out."""
    sender = Sender()
    await sender.forward(num_bytes=1)
    assert sender.forwarder.link_measurements() == []
    sender.links.link.estimate = LinkEstimate(0.0, 2.5e9)
    (measured,) = sender.forwarder.link_measurements()
    assert (measured.node, measured.round_trip_us, measured.bytes_per_s) == ("b", 1, 2_500_000_000)

"""The frame handler: admission, decompression, cancellation, lost peers."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from onnxmesh.ids import Digest, StageKey, WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.worker.requests import outgoing_frames
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.stages.frame_handler import FrameHandler
from services.worker.stages.stage_table import StageTable
from services.worker.streams.gateway_replies import GatewayReplies
from tests.eventually import eventually
from tests.fakes.slow_link import SlowLink
from tests.unit.worker.running_stage import GatewayLink
from tests.unit.worker.stage_requests import request

NUMBERS = np.repeat(np.linspace(-1, 1, 1000, dtype=np.float32), 16)
TENSOR = Tensor("h", Datatype.FP32, (16_000,), NUMBERS.tobytes())


class RecordingRunner:
    """A stage runner that keeps the calls of the handler."""

    def __init__(self):
        self.calls = []

    def submit(self, request):
        self.calls.append(("submit", request.key.number))

    def cancel(self, key):
        self.calls.append(("cancel", key.number))

    def drop_parts(self, origin):
        self.calls.append(("drop_parts", origin))

    def drop_gateway(self, origin):
        self.calls.append(("drop_gateway", origin))


class Handler:
    """A frame handler of worker `w`, which holds stage m/1/0."""

    def __init__(self):
        self.link = GatewayLink()
        self.counters = RequestCounters()
        self.credits = []
        self.runner = RecordingRunner()
        stages = StageTable()
        stages.add_loading(StageKey("m/1/0"), Digest("d"))
        stages.mark_ready(StageKey("m/1/0"), self.runner, 0.0)
        self.cancellations = Cancellations()
        self.handler = FrameHandler(
            WorkerId("w"),
            stages,
            GatewayReplies(WorkerId("w"), lambda _: self.link, counters=self.counters, load=frame_pb2.Load),
            cancellations=self.cancellations,
            on_credit=lambda link, credit: self.credits.append((link, credit.credit)),
        )

    def receive(self, **kind):
        self.handler.on_frame(self.link, Frame(frame_pb2.FrameHeader(**kind)))

    async def decompressed(self, frame):
        self.handler.on_activation(frame)
        await eventually(lambda: not self.handler._decompressing)


async def compressed_activation():
    """Returns an Activation for hop 1, compressed as for a slow link."""
    link, compressor = SlowLink("far"), Compressor()
    for _ in range(8):
        frame = outgoing_frames.activation_frame(
            request(tensors={"h": TENSOR}), [TENSOR], frame_pb2.HopTiming(), now_s=0.0, unix_ns=1
        )
        frame = await compressor.compress(frame, link)
    assert frame.header.activation.tensors[0].encoding
    return frame


def test_frame_handler_submits_a_request_to_its_stage():
    """Nothing is sent and nothing is counted."""
    it = Handler()
    it.handler.submit(request(3))
    assert it.runner.calls == [("submit", 3)]
    assert it.link.headers == []
    assert it.counters == RequestCounters()


def test_frame_handler_refuses_first_hops_while_draining():
    """A request that an earlier stage has worked on is admitted."""
    it = Handler()
    it.handler.draining = True
    it.handler.submit(request(1))
    it.handler.submit(request(2, stages=("m/1/9", "m/1/0"), hop=1))
    assert it.runner.calls == [("submit", 2)]
    assert [failure.key.number for failure in it.link.failures] == [1]


def test_frame_handler_drops_an_attempt_that_was_cancelled_before_it_arrived():
    """The Cancel also reaches the runners."""
    it = Handler()
    it.receive(cancel=frame_pb2.Cancel(key=RequestKey("gateway", 4, 0).to_proto()))
    it.handler.submit(request(4))
    assert it.runner.calls == [("cancel", 4)]
    assert it.link.headers == []
    assert it.counters.dropped == 1


def test_frame_handler_passes_returned_credit_on():
    """With the link that it arrived on."""
    it = Handler()
    it.receive(credit=frame_pb2.Credit(stage="m/1/1", credit=7))
    assert it.credits == [(it.link, 7)]


def test_frame_handler_drops_parts_on_a_new_link_and_requests_without_one():
    """A gateway with a new link has failed what it sent on the old one."""
    it = Handler()
    it.handler.on_link_up("gateway")
    it.handler.on_peer_lost("gateway")
    assert it.runner.calls == [("drop_parts", "gateway"), ("drop_gateway", "gateway")]


@pytest.mark.parametrize(("hop", "stage"), [(1, "m/1/1"), (9, "")])
def test_frame_handler_returns_the_credit_of_a_refused_request(hop, stage):
    """For a stage that is not held, or a malformed header; else its sender would wait forever."""
    it = Handler()
    header = request(1, hop=1).header
    header.hop = hop
    header.credit = 5
    it.receive(activation=header)
    returned = [header.credit for header in it.link.headers if header.HasField("credit")]
    assert returned == [frame_pb2.Credit(stage=stage, credit=5)]
    assert it.counters.failed == 1


async def test_frame_handler_admits_a_compressed_request_after_decompressing():
    """Here it is refused, for its stage is not held."""
    it = Handler()
    await it.decompressed(await compressed_activation())
    (failure,) = it.link.failures
    assert failure.reason == "STAGE_GONE"


async def test_frame_handler_refuses_a_request_that_cannot_be_decompressed():
    """The message names the tensor."""
    it, frame = Handler(), await compressed_activation()
    frame.header.activation.tensors[0].decoded_bytes = 5
    await it.decompressed(frame)
    (failure,) = it.link.failures
    assert (failure.reason, failure.retriable) == ("CORRUPT_DATA", True)
    assert "tensor 'h'" in failure.message


async def test_frame_handler_drops_what_is_decompressing_for_a_lost_gateway():
    """Without a Failure."""
    it = Handler()
    it.handler.on_activation(await compressed_activation())
    it.handler.on_peer_lost("another")
    it.handler.on_peer_lost("gateway")
    await eventually(lambda: not it.handler._decompressing)
    await asyncio.sleep(0)
    assert it.link.failures == []
    assert it.counters.dropped == 1

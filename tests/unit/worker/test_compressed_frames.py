"""What a worker sends over slow ways, and takes from them."""

from __future__ import annotations

import asyncio

import numpy as np

from onnxmesh.deadline import Deadline
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.compressed_frames import decompressed_frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.tensors.compression.compression_choice import NO_LOSS, LossAllowance
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Hop, HopTiming, Load
from onnxmesh.v1.model_pb2 import Artefact, Partition
from services.worker.requests import outgoing_frames
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.stage_spec import StageSpec
from services.worker.stages.frame_handler import FrameHandler
from services.worker.stages.stage_table import StageTable
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.eventually import eventually
from tests.fakes.slow_link import SlowLink
from tests.unit.worker.stage_requests import request

NUMBERS = np.repeat(np.linspace(-1, 1, 1000, dtype=np.float32), 16)
TENSOR = Tensor("h", Datatype.FP32, (16_000,), NUMBERS.tobytes())


class FarLinks:
    """Links of which every one is slow; made when they are dialled."""

    def __init__(self):
        self.links = {}

    def get(self, peer):
        return self.links.get(peer)

    async def connect(self, peer, address):
        return self.links.setdefault(peer, SlowLink(peer))


def origins(link, **more):
    return GatewayReplies(WorkerId("w"), lambda _: link, RequestCounters(), Load, lambda: 0.0, **more)


async def forwarded(allowance, times=8):
    """Returns what the next worker was sent last."""
    links = FarLinks()
    forwarder = Forwarder(WorkerId("w"), links, origins(None), RequestCounters(), lambda _: None)
    asked = request(tensors={"h": TENSOR})
    for _ in range(times):
        frame = outgoing_frames.activation_frame(asked, [TENSOR], HopTiming(), now_s=0.0, unix_ns=1)
        await forwarder.forward(asked.key, Deadline(1e9), Hop(worker="far"), frame, allowance=allowance)
    return links.links["far"].frames[-1]


async def test_activations_keep_every_bit_unless_their_partition_allows_a_loss():
    """They leave in fewer bytes either way."""
    exact = await forwarded(NO_LOSS)
    assert exact.header.activation.tensors[0].encoding == Encoding.ZSTD
    assert bytes(decompressed_frame(exact).payloads[0]) == TENSOR.data
    allowance = LossAllowance(frozenset({Encoding.INT8}), frozenset({"h"}))
    lossy = await forwarded(allowance)
    assert Encoding(lossy.header.activation.tensors[0].encoding).rounding is Encoding.INT8


def test_what_a_partition_allows_is_read_off_it():
    """A partition that says nothing allows nothing."""
    partition = Partition(artefact=Artefact(digest="d"), lossy_encodings=["fp16"], lossy_tensors=["h"])
    assert StageSpec.of("m/1/0", partition).allowance.of("h") == {Encoding.FP16}
    assert StageSpec.of("m/1/0", Partition()).allowance == NO_LOSS


async def test_answers_leave_in_fewer_bytes_and_keep_every_bit():
    """Over a slow way to a gateway."""
    link, asked = SlowLink("gateway"), request(tensors={"h": TENSOR})
    home = origins(link, compressor=Compressor())
    for _ in range(3):
        await home.send_result(
            asked.key, outgoing_frames.result_frame(asked, [TENSOR], HopTiming(stage="m/1/1"), unix_ns=1)
        )
    sent = link.frames[-1]
    assert sent.header.result.tensors[0].encoding == Encoding.ZSTD
    assert bytes(decompressed_frame(sent).payloads[0]) == TENSOR.data


class Taken:
    """A worker that holds nothing, and what it tells of what comes."""

    def __init__(self):
        self.link = SlowLink("gateway")
        self.tally = RequestCounters()
        self.intake = FrameHandler(
            WorkerId("far"), StageTable(), origins(self.link), Cancellations(), self.tally
        )

    async def receive(self, frame):
        self.intake.receive(frame)
        await eventually(lambda: not self.intake._unpacking)

    @property
    def failures(self):
        return [header.failure for header in self.link.headers if header.HasField("failure")]


async def test_what_comes_in_fewer_bytes_is_admitted_like_anything_else():
    """Once it is decoded: here it is refused, for its stage is not held."""
    taken = Taken()
    await taken.receive(await forwarded(NO_LOSS))
    (failure,) = taken.failures
    assert failure.reason == "UNAVAILABLE"


async def test_what_cannot_be_decoded_is_refused():
    """Its origin is told which tensor was wrong."""
    taken, frame = Taken(), await forwarded(NO_LOSS)
    frame.header.activation.tensors[0].decoded_bytes = 5
    await taken.receive(frame)
    (failure,) = taken.failures
    assert (failure.reason, failure.retriable) == ("CORRUPT_DATA", True)
    assert "tensor 'h'" in failure.message


async def test_what_is_being_decoded_is_dropped_with_its_gateway():
    """Nobody waits for it: nothing is said."""
    taken = Taken()
    taken.intake.receive(await forwarded(NO_LOSS))
    taken.intake.on_peer_lost("someone else")
    taken.intake.on_peer_lost("gateway")
    await eventually(lambda: not taken.intake._unpacking)
    await asyncio.sleep(0)
    assert taken.failures == []
    assert taken.tally.dropped == 1

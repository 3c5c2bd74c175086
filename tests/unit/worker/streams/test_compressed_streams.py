"""Compression of what a worker sends over slow links."""

from __future__ import annotations

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
from services.worker.requests import outgoing_frames
from services.worker.requests.request_counters import RequestCounters
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.fakes.slow_link import SlowLink
from tests.unit.worker.stage_requests import request

NUMBERS = np.repeat(np.linspace(-1, 1, 1000, dtype=np.float32), 16)
TENSOR = Tensor("h", Datatype.FP32, (16_000,), NUMBERS.tobytes())


class FarLinks:
    """Links that are all slow; made on connecting."""

    def __init__(self):
        self.links = {}

    def get(self, peer):
        return self.links.get(peer)

    async def connect(self, peer, address):
        return self.links.setdefault(peer, SlowLink(peer))


def replies_on(link, **more):
    return GatewayReplies(
        WorkerId("w"), lambda _: link, counters=RequestCounters(), load=Load, clock=lambda: 0.0, **more
    )


async def forwarded(allowance, times=8):
    """Returns the last frame that the next worker was sent."""
    links = FarLinks()
    forwarder = Forwarder(
        WorkerId("w"), links, replies_on(None), counters=RequestCounters(), deliver=lambda _: None
    )
    it = request(tensors={"h": TENSOR})
    for _ in range(times):
        frame = outgoing_frames.activation_frame(it, [TENSOR], HopTiming(), now_s=0.0, unix_ns=1)
        await forwarder.forward(it.key, Deadline(1e9), Hop(worker="far"), frame, allowance=allowance)
    return links.links["far"].frames[-1]


async def test_forwarder_compresses_without_loss_unless_the_stage_allows_it():
    """Activations over a slow link are compressed either way."""
    exact = await forwarded(NO_LOSS)
    assert exact.header.activation.tensors[0].encoding == Encoding.ZSTD
    assert bytes(decompressed_frame(exact).payloads[0]) == TENSOR.data
    allowance = LossAllowance(frozenset({Encoding.INT8}), frozenset({"h"}))
    lossy = await forwarded(allowance)
    assert Encoding(lossy.header.activation.tensors[0].encoding).rounding is Encoding.INT8


async def test_gateway_replies_compress_results_without_loss():
    """Over a slow link to a gateway."""
    link, it = SlowLink("gateway"), request(tensors={"h": TENSOR})
    replies = replies_on(link, compressor=Compressor())
    for _ in range(3):
        await replies.send_result(
            it.key, outgoing_frames.result_frame(it, [TENSOR], HopTiming(stage="m/1/1"), unix_ns=1)
        )
    sent = link.frames[-1]
    assert sent.header.result.tensors[0].encoding == Encoding.ZSTD
    assert bytes(decompressed_frame(sent).payloads[0]) == TENSOR.data

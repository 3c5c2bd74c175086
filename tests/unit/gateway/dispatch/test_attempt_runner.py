"""Attempts with compressed inputs and results, where a link is slow."""

from __future__ import annotations

import numpy as np

from onnxmesh.rpc.frames.compressed_frames import compressed_frame, decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.compression.codec import encode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.fakes.slow_link import SLOW
from tests.unit.gateway.dispatch_bench import NOW_NS, Bench

LARGE = Tensor("x", Datatype.FP32, (1, 16_000), np.repeat(np.arange(1000, dtype=np.float32), 16).tobytes())


def answer(activation, change=None):
    """Returns a result with the large tensor compressed."""
    described = frame_pb2.Tensor(
        name="y", datatype="FP32", shape=LARGE.shape, byte_size=LARGE.byte_size, decoded_bytes=0
    )
    result = frame_pb2.Result(key=activation.key, tensors=[described], sent_unix_ns=NOW_NS)
    frame = compressed_frame(
        Frame(frame_pb2.FrameHeader(result=result), (LARGE.data,)), {0: encode_elements(LARGE, Encoding.ZSTD)}
    )
    if change is not None:
        frame.header.result.tensors[0].decoded_bytes = change
    return frame


async def test_attempt_runner_compresses_inputs_for_a_slow_link():
    """Without loss, once it is known how well they compress."""
    bench = Bench("a")
    bench.routes("a")
    bench.links.streams["a"].estimate = SLOW
    for index in range(3):
        async with bench.inferring(tensors=(LARGE,)) as request:
            bench.answer("a", await bench.activation("a", index))
            await request
    first, *_, last = bench.links.streams["a"].sent
    assert not is_compressed(first)
    assert is_compressed(last)
    assert bytes(decompressed_frame(last).payloads[0]) == LARGE.data


async def test_attempt_runner_decompresses_a_result():
    """The client sees its elements."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        bench.dispatcher.on_frame("a", answer(await bench.activation("a")))
        (tensor,) = (await request).tensors
    assert (tensor.shape, bytes(tensor.data)) == (LARGE.shape, LARGE.data)


async def test_attempt_runner_fails_retriably_on_a_result_that_cannot_be_decompressed():
    """Another worker is tried."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.inferring() as request:
        (one,) = [name for name, stream in bench.links.streams.items() if stream.sent]
        bench.dispatcher.on_frame(one, answer(await bench.activation(one), change=3))
        other = "b" if one == "a" else "a"
        bench.dispatcher.on_frame(other, answer(await bench.activation(other)))
        (tensor,) = (await request).tensors
    assert bytes(tensor.data) == LARGE.data

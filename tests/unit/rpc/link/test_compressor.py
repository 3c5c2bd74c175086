"""Compression of frames for slow links."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.chunking import Assembler, split_frame
from onnxmesh.rpc.frames.compressed_frames import decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link_policy.link_estimator import LinkEstimate
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.compression.compression_choice import MIN_COMPRESSED_BYTES, LossAllowance
from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.v1 import frame_pb2
from tests.fakes.slow_link import SlowLink

NUMBERS = np.repeat(np.random.default_rng(3).standard_normal(4096).astype(np.float32), 8)
ANY_LOSS = LossAllowance(frozenset(ROUNDINGS), frozenset({"h"}))


def frame(array=NUMBERS, name="h", **more):
    """Returns an Activation for the second stage: one large tensor, and a small one."""
    tensors = [from_array("small", np.arange(3)), from_array(name, array)]
    described = [
        frame_pb2.Tensor(name=each.name, datatype=each.datatype, shape=each.shape, byte_size=each.byte_size)
        for each in tensors
    ]
    hops = [frame_pb2.Hop(stage=f"m/1/{index}") for index in range(2)]
    activation = frame_pb2.Activation(
        key=frame_pb2.RequestKey(origin="g", number=1),
        route=frame_pb2.Route(hops=hops),
        hop=1,
        tensors=described,
        timings=[frame_pb2.HopTiming(stage="m/1/0")],
        **more,
    )
    return Frame(frame_pb2.FrameHeader(activation=activation), tuple(each.data for each in tensors))


def over_the_wire(sent, chunk_bytes=4096):
    """Returns a frame as its receiver's stream has it."""
    assembler = Assembler()
    (whole,) = filter(
        None, map(assembler.feed, decode_envelope(encode_envelope(split_frame(sent, chunk_bytes))))
    )
    return whole


async def settled(compressor, link, allowance=None):
    """Returns the frame as it is sent once the encodings were measured."""
    given = () if allowance is None else (allowance,)
    for _ in range(8):
        sent = await compressor.compress(frame(), link, *given)
    return sent


async def test_compressor_compresses_repetitive_tensors_without_loss():
    """Small tensors beside it stay as they are, and so does the header that the sender has."""
    compressor, given = Compressor(), frame()
    await settled(compressor, SlowLink())
    sent = await compressor.compress(given, SlowLink())
    assert not is_compressed(given)
    assert [tensor.encoding for tensor in sent.header.activation.tensors] == [Encoding.NONE, Encoding.ZSTD]
    assert sent.payload_bytes < 0.5 * given.payload_bytes
    back = await compressor.decompress(over_the_wire(sent))
    timing = back.header.activation.timings[-1]
    assert (timing.plain_bytes, timing.wire_bytes) == (given.payload_bytes, sent.payload_bytes)
    given.header.activation.timings[-1].MergeFrom(timing)
    assert back.header == given.header
    assert list(map(bytes, back.payloads)) == list(map(bytes, given.payloads))


async def test_compressor_rounds_only_where_that_is_allowed():
    """The tensor that is named, and not by default."""
    compressor = Compressor()
    lossy = await settled(compressor, SlowLink(), ANY_LOSS)
    assert Encoding(lossy.header.activation.tensors[1].encoding).rounding is not Encoding.NONE
    array = np.frombuffer(decompressed_frame(over_the_wire(lossy)).payloads[1], np.float32)
    assert 0 < np.abs(array - NUMBERS).max() <= (NUMBERS.max() - NUMBERS.min()) / 500
    exact = await compressor.compress(frame(), SlowLink())
    assert bytes(decompressed_frame(over_the_wire(exact)).payloads[1]) == NUMBERS.tobytes()
    other = await compressor.compress(frame(name="x"), SlowLink(), ANY_LOSS)
    assert bytes((await compressor.decompress(other)).payloads[1]) == NUMBERS.tobytes()


@pytest.mark.parametrize(
    "link",
    [
        SlowLink(same_host=True),
        SlowLink(estimate=None),
        SlowLink(estimate=LinkEstimate(0.001)),
        SlowLink(estimate=LinkEstimate(0.001, 1e12)),
    ],
)
async def test_compressor_leaves_frames_where_compression_cannot_pay(link):
    """On the same host, on a link without estimate, on a fast link: the frame itself is returned."""
    compressor = Compressor()
    for _ in range(3):
        given = frame()
        assert await compressor.compress(given, link, ANY_LOSS) is given


async def test_compressor_that_is_disabled_still_decompresses():
    """On the slowest link the frame itself is returned, and counted; one that another process compressed is decompressed."""
    off = Compressor(enabled=False)
    for _ in range(8):
        given = frame()
        assert await off.compress(given, SlowLink(), ANY_LOSS) is given
    (sent,) = off.sent_tensors()
    assert (sent.peer, sent.encoding) == ("far", "none")
    assert sent.tensor_bytes == sent.wire_bytes == 8 * NUMBERS.nbytes
    packed_elsewhere = over_the_wire(await settled(Compressor(), SlowLink()))
    assert is_compressed(packed_elsewhere)
    assert bytes((await off.decompress(packed_elsewhere)).payloads[1]) == NUMBERS.tobytes()


async def test_compressor_leaves_small_frames():
    """And frames without tensors."""
    compressor = Compressor()
    small = frame(np.zeros(MIN_COMPRESSED_BYTES // 4 - 100, np.float32))
    assert await compressor.compress(small, SlowLink()) is small
    cancel = Frame(frame_pb2.FrameHeader(cancel=frame_pb2.Cancel()))
    assert await compressor.compress(cancel, SlowLink()) is cancel
    assert await compressor.decompress(cancel) is cancel
    assert await compressor.decompress(small) is small


async def test_compressor_keeps_tensors_that_cannot_be_rounded():
    """With an infinity nothing is lost, and the frame is sent."""
    compressor = Compressor()
    array = NUMBERS.copy()
    array[5] = np.inf
    for _ in range(8):
        sent = await compressor.compress(frame(array), SlowLink(), ANY_LOSS)
        assert bytes(decompressed_frame(sent).payloads[1]) == array.tobytes()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoding": 77}, "'h' is in the unknown encoding 77"),
        ({"datatype": "FP31"}, "'h' is of unknown datatype 'FP31'"),
        ({"decoded_bytes": 12}, "12 are announced"),
        ({"encoding": 3}, "expected 32768 bytes of int8"),
    ],
)
async def test_compressor_refuses_tensors_that_do_not_match_their_description(changes, why):
    """By its name."""
    sent = await settled(Compressor(), SlowLink())
    for field, value in changes.items():
        setattr(sent.header.activation.tensors[1], field, value)
    with pytest.raises(CorruptData, match=why):
        await Compressor().decompress(sent)


async def test_compressor_counts_sent_bytes_by_peer_and_encoding():
    """The first frame is sent uncompressed; the counters of a peer are removed with it."""
    compressor = Compressor()
    await settled(compressor, SlowLink())
    none, zstd = sorted(compressor.sent_tensors(), key=lambda sent: sent.encoding)
    assert (none.peer, none.encoding, none.tensor_bytes, none.wire_bytes) == (
        "far",
        "none",
        *[NUMBERS.nbytes] * 2,
    )
    assert (zstd.peer, zstd.encoding, zstd.tensor_bytes) == ("far", "zstd", 7 * NUMBERS.nbytes)
    assert zstd.wire_bytes < 0.5 * zstd.tensor_bytes
    compressor.remove_peer("far")
    assert compressor.sent_tensors() == []

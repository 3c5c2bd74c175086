"""Bytes that no peer of ours would send."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.chunking import Assembler
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.rpc.link.hello import read_hello
from onnxmesh.v1.frame_pb2 import (
    Activation,
    Cancel,
    Chunk,
    Envelope,
    FrameHeader,
    Hello,
    Hop,
    RequestKey,
    Result,
    Route,
    Tensor,
)
from onnxmesh.v1.frame_pb2 import SharedPayload as SharedMessage

MEMORY = memoryview(os.urandom(4096))

keys = st.builds(RequestKey, origin=st.sampled_from(["", "g"]), number=st.integers(0, 2))
tensors = st.builds(
    Tensor, name=st.sampled_from(["", "x"]), byte_size=st.sampled_from([0, 3, 2**64 - 1]), shape=st.just([3])
)
headers = st.one_of(
    st.builds(
        lambda **fields: FrameHeader(activation=Activation(route=Route(hops=[Hop(stage="m/1/0")]), **fields)),
        key=keys,
        hop=st.integers(0, 2),
        tensors=st.lists(tensors, max_size=2),
        chunked=st.booleans(),
    ),
    st.builds(
        lambda **fields: FrameHeader(result=Result(**fields)),
        key=keys,
        tensors=st.lists(tensors, max_size=2),
        chunked=st.booleans(),
    ),
    st.builds(
        lambda **fields: FrameHeader(chunk=Chunk(**fields)),
        key=keys,
        tensor=st.sampled_from([0, 1, 2**32 - 1]),
        offset=st.sampled_from([0, 3, 2**64 - 1]),
        last=st.booleans(),
        hop=st.integers(0, 2),
    ),
    keys.map(lambda key: FrameHeader(cancel=Cancel(key=key))),
    st.just(FrameHeader(hello=Hello(node="w", generation=2**64 - 1))),
    st.just(FrameHeader()),
)
shared = st.builds(
    SharedMessage,
    index=st.sampled_from([0, 1, 2**32 - 1]),
    offset=st.sampled_from([0, 1, 4095, 4096, 4097, 2**64 - 1]),
    byte_size=st.sampled_from([0, 1, 4096, 2**64 - 1]),
)
payloads = st.lists(st.sampled_from([b"", b"abc", bytes(40)]), max_size=3)
parts = st.tuples(headers, payloads, st.lists(shared, max_size=2))
mutations = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut out", "insert", "end"]), st.integers(0, 10_000), st.binary(max_size=8)
    ),
    max_size=4,
)


def resolve(payload: SharedPayload) -> memoryview:
    """Finds payloads as a link does whose peer's memory is `MEMORY`."""
    if payload.offset + payload.byte_size > len(MEMORY):
        raise CorruptData("outside")
    return MEMORY[payload.offset : payload.offset + payload.byte_size]


def envelope(described):
    """A message that is well formed, with any content."""
    message = Envelope()
    for header, contents, share_payloads in described:
        frame = message.frames.add(header=header.SerializeToString(), payloads=contents)
        frame.shared.extend(share_payloads)
    return message.SerializeToString()


def changed(message, changes):
    """The message with some of its bytes changed."""
    out = bytearray(message)
    for kind, where, more in changes:
        place = where % (len(out) + 1)
        if kind == "flip" and place < len(out):
            out[place] ^= 1 << (len(more) % 8)
        elif kind == "cut out":
            del out[place : place + len(more)]
        elif kind == "insert":
            out[place:place] = more
        elif kind == "end":
            del out[place:]
    return bytes(out)


@given(st.lists(parts, max_size=4), mutations)
@example([(FrameHeader(), [b"abc"], [SharedMessage(index=2)])], [])
def test_decode_envelope_returns_frames_or_corrupt_data(described, changes):
    """Reading a message that was changed in any way, and assembling its chunks, raises CorruptData or nothing."""
    assembler = Assembler()
    try:
        for frame in decode_envelope(changed(envelope(described), changes), resolve):
            assembler.feed(frame)
    except CorruptData:
        pass


@given(st.lists(st.lists(parts, max_size=3), max_size=5))
def test_assembler_keeps_only_announced_frames(messages):
    """Frames in any order: only headers that announced chunks are kept, whatever sizes they announce."""
    assembler = Assembler()
    num_announced = 0
    for described in messages:
        for header, contents, _ in described:
            body = header.activation if header.HasField("activation") else header.result
            num_announced += body.chunked
            try:
                assembler.feed(Frame(header, tuple(contents)))
            except CorruptData:
                return
            assert assembler.num_partial <= num_announced


@given(st.one_of(st.binary(max_size=60), st.lists(parts, max_size=2).map(envelope)))
def test_read_hello_returns_a_hello_or_corrupt_data(message):
    """No other message is read as one."""
    try:
        read = read_hello(message, "h:1")
    except CorruptData:
        return
    assert read == FrameHeader.FromString(Envelope.FromString(message).frames[0].header).hello


@given(st.lists(parts, min_size=1, max_size=3), st.data())
def test_decode_envelope_returns_no_part_of_a_truncated_frame(described, data):
    """Cut anywhere, it is corrupt, or the cut was between frames and what is left of them is whole."""
    whole = envelope([(header, contents, []) for header, contents, _ in described])
    cut = data.draw(st.integers(0, len(whole)))
    try:
        got = decode_envelope(whole[:cut])
    except CorruptData:
        return
    assert encode_envelope(got) == encode_envelope(decode_envelope(whole)[: len(got)])


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x08\x01"]
)
def test_decode_envelope_refuses_an_envelope_that_announces_too_much(message):
    """A length without its bytes, a length beyond all lengths, a field that is no message."""
    with pytest.raises(CorruptData, match="expected an Envelope"):
        decode_envelope(message)

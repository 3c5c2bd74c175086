"""gRPC messages, assembled from pieces."""

from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage
from onnxmesh.http2.protocol.messages import MessageReader, message_prefix

PREALLOCATED_BYTES = 3_000
"""Instead of the half mebibyte of the module, so that many cases are tried in little time."""


def compressed(message, how):
    data = gzip.compress(message) if how == "gzip" else zlib.compress(message)
    return b"\x01" + len(data).to_bytes(4, "big") + data


@settings(deadline=None)
@given(
    messages=st.lists(
        st.binary(max_size=20) | st.integers(0, 5_000).map(lambda size: b"x" * size), max_size=6
    ),
    packed=st.sets(st.integers(0, 5)),
    how=st.sampled_from(["gzip", "deflate"]),
    cuts=st.lists(st.integers(0, 40_000), max_size=20),
    small=st.booleans(),
)
def test_message_reader_reads_messages_wherever_they_are_cut(messages, packed, how, cuts, small):
    """CompressedMessage and not, in pieces of any size, empty ones included."""
    wire = b"".join(
        compressed(message, how) if number in packed else message_prefix(len(message)) + message
        for number, message in enumerate(messages)
    )
    step = 1 if small and len(wire) < 2_000 else None
    borders = (
        range(len(wire) + 1) if step else sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    )
    reader = MessageReader(how, 10_000)
    got = []
    for begin, end in pairwise(borders):
        got += reader.feed(memoryview(wire)[begin:end])
    assert got == messages
    assert all(type(message) is bytes for message in got)
    assert reader.is_at_boundary


@settings(deadline=None)
@given(
    sizes=st.lists(
        st.integers(PREALLOCATED_BYTES - 2, PREALLOCATED_BYTES + 2) | st.integers(0, 9),
        min_size=1,
        max_size=4,
    ),
    packed=st.booleans(),
    cuts=st.lists(st.integers(0, 4 * PREALLOCATED_BYTES), max_size=20),
    has_memory=st.booleans(),
)
def test_message_reader_assembles_large_messages(sizes, packed, cuts, has_memory):
    """Wherever they are cut, compressed too, small ones between them; the same where memory for a whole one is short."""
    messages = [random.Random(size).randbytes(size) for size in sizes]
    wire = b"".join(
        compressed(message, "gzip") if packed else message_prefix(len(message)) + message
        for message in messages
    )
    borders = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    reader = MessageReader("gzip", 10 * PREALLOCATED_BYTES)
    got = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("onnxmesh.http2.protocol.messages.PREALLOCATED_MESSAGE_BYTES", PREALLOCATED_BYTES)
        if not has_memory:
            patch.setattr("onnxmesh.http2.protocol.messages.allocate_aligned", no_memory)
        for begin, end in pairwise(borders):
            got += reader.feed(memoryview(wire)[begin:end])
    assert [each.decompress() if isinstance(each, CompressedMessage) else each for each in got] == messages
    assert all(memoryview(each).readonly for each in got if not isinstance(each, CompressedMessage))
    assert reader.is_at_boundary


def no_memory(*_):
    raise MemoryError


def test_message_reader_is_at_a_boundary_between_messages_alone():
    """Within a prefix and within a message it is not."""
    reader = MessageReader("identity", 100)
    assert reader.is_at_boundary
    for piece in (b"\0\0\0", b"\0\x03", b"ab"):
        assert reader.feed(piece) == []
        assert not reader.is_at_boundary
    assert reader.feed(b"c") == [b"abc"]
    assert reader.is_at_boundary


@pytest.mark.parametrize(
    ("encoding", "wire", "error", "match"),
    [
        ("identity", message_prefix(101), TooLarge, "Received message larger than max (101 vs. 100)"),
        ("gzip", compressed(bytes(101), "gzip"), TooLarge, "larger than max"),
        ("identity", compressed(b"a", "gzip"), Internal, "no grpc-encoding"),
        ("identity", b"\x02\0\0\0\0", Internal, "expected 0 or 1"),
        ("gzip", b"\x01\0\0\0\x03abc", Internal, "not what its encoding gzip says"),
        ("gzip", b"\x01\0\0\0\x0a" + gzip.compress(b"abc")[:10], Internal, "cut short"),
    ],
    ids=["too long", "too long, uncompressed", "not announced", "odd flag", "not compressed", "cut short"],
)
def test_message_reader_refuses_malformed_messages(encoding, wire, error, match):
    """With the status and the reason of each."""
    with pytest.raises(error) as caught:
        for message in MessageReader(encoding, 100).feed(wire):
            message.decompress()
    assert match in caught.value.message

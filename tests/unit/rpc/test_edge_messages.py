"""Messages from pieces, windows, and patience."""

from __future__ import annotations

import gzip
import random
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.compressed_messages import QUICK_BYTES, Compressed
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.limits import EdgeLimits
from onnxmesh.http2.protocol.messages import LARGE_BYTES, MessageReader, message_prefix
from onnxmesh.http2.protocol.receive_window import ReceiveWindow


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
def test_messages_are_read_wherever_they_are_cut(messages, packed, how, cuts, small):
    """Compressed and not, in pieces of any size, empty ones included."""
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
    assert reader.is_between


@settings(deadline=None)
@given(
    sizes=st.lists(st.integers(LARGE_BYTES - 2, LARGE_BYTES + 2) | st.integers(0, 9), min_size=1, max_size=4),
    packed=st.booleans(),
    cuts=st.lists(st.integers(0, 4 * LARGE_BYTES), max_size=20),
    has_capacity=st.booleans(),
)
def test_large_messages_are_put_together_as_they_come(sizes, packed, cuts, has_capacity):
    """Wherever they are cut, compressed too, small ones between them; the same where there is no room for a whole one."""
    messages = [random.Random(size).randbytes(size) for size in sizes]
    wire = b"".join(
        compressed(message, "gzip") if packed else message_prefix(len(message)) + message
        for message in messages
    )
    borders = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    reader = MessageReader("gzip", 10 * LARGE_BYTES)
    got = []
    with pytest.MonkeyPatch.context() as patch:
        if not has_capacity:
            patch.setattr("onnxmesh.http2.protocol.messages.allocate_aligned", no_memory)
        for begin, end in pairwise(borders):
            got += reader.feed(memoryview(wire)[begin:end])
    assert [each.plain() if isinstance(each, Compressed) else each for each in got] == messages
    assert all(memoryview(each).readonly for each in got if not isinstance(each, Compressed))
    assert reader.is_between


def no_memory(*_):
    raise MemoryError


def test_a_message_that_has_not_ended():
    """It is known that more must come."""
    reader = MessageReader("identity", 100)
    assert reader.is_between
    for piece in (b"\0\0\0", b"\0\x03", b"ab"):
        assert list(reader.feed(piece)) == []
        assert not reader.is_between
    assert list(reader.feed(b"c")) == [b"abc"]
    assert reader.is_between


@pytest.mark.parametrize(
    ("encoding", "wire", "error", "says"),
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
def test_messages_that_cannot_be_taken(encoding, wire, error, says):
    """Each is told what was wrong with it."""
    with pytest.raises(error) as caught:
        for message in MessageReader(encoding, 100).feed(wire):
            message.plain()
    assert says in caught.value.message


@pytest.mark.parametrize("how", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("noise", "size"),
    [(0, QUICK_BYTES), (0, QUICK_BYTES + 1), (0, (5 << 20) + 7), (200_000, 400_000), (2_000_000, 5 << 20)],
)
def test_what_takes_long_to_uncompress_is_left_to_another_thread(how, size, noise):
    """It comes as it was sent, and becomes the message that it was; one byte more than is allowed is refused."""
    message = random.Random(1).randbytes(noise) + bytes(size - noise)
    (got,) = MessageReader(how, size).feed(compressed(message, how))
    assert isinstance(got, Compressed) == (size > QUICK_BYTES)
    assert (got.plain() if isinstance(got, Compressed) else got) == message
    if isinstance(got, Compressed):
        (longer,) = MessageReader(how, size - 1).feed(compressed(message, how))
        with pytest.raises(TooLarge):
            longer.plain()


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=100))
def test_a_window_is_given_back_and_never_more(sizes):
    """A client that sends what it may, and is read, is never stuck, and never may send more than the window."""
    inflow, allowed = ReceiveWindow(100), 100
    for wanted in sizes:
        size = min(wanted, allowed)
        assert inflow.arrive(size)
        allowed -= size
        allowed += inflow.take(size)
        assert 50 <= allowed <= 100
    assert not inflow.arrive(allowed + 1)


def test_patience_with_answers_that_wait():
    """Only with a client that has taken nothing from one look to the next, though answers waited at both."""
    patience = AbuseGuard(EdgeLimits())
    for taking in (True, False, True):
        patience.look(waits=taking)
        patience.progress()
    patience.takes()
    patience.look(waits=True)
    patience.progress()
    with pytest.raises(ConnectionFault, match="nothing of the answers was taken for 60 s") as caught:
        patience.look(waits=True)
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_who_pings_now_and_then_may_do_so_for_days():
    """Idle frames count for a while only, though nothing else comes."""
    patience = AbuseGuard(EdgeLimits(max_idle_frames=3))
    for _ in range(10):
        for _ in range(3):
            patience.idle_frame()
        patience.look(waits=False)


def test_patience_ends():
    """Idle frames in a row, calls given up within a second, answers that are not read."""
    limits = EdgeLimits(max_idle_frames=3, max_resets_per_s=2, max_unread=1)
    patience = AbuseGuard(limits)
    for _ in range(10):
        for _ in range(3):
            patience.idle_frame()
        patience.progress()
    for now in range(0, 20, 2):
        patience.reset(now)
        patience.reset(now + 0.1)
    patience.unread()
    patience.reads()
    patience.unread()
    for once_more in (
        patience.unread,
        lambda: patience.reset(18.2),
        lambda: [patience.idle_frame() for _ in range(4)],
    ):
        with pytest.raises(ConnectionFault) as caught:
            once_more()
        assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM

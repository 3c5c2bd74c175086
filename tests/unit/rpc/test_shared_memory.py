"""Payloads in memory that two processes see."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames import Frame, SharedPayload, decode, encode
from onnxmesh.rpc.same_host.placing import brought, placed
from onnxmesh.rpc.same_host.shared_memory import OwnMemory, PeerMemory
from onnxmesh.v1.frame_pb2 import FrameHeader, Load

HEADER = FrameHeader(load=Load(queued=3))


class Sides:
    """Both sides of one memory."""

    def __init__(self, byte_size=1 << 20):
        self.own = OwnMemory(byte_size)
        self.freed = []
        self.peer = PeerMemory(os.dup(self.own.descriptor))

    def view(self, payload):
        return self.peer.view(payload, self.freed.append)

    def close(self):
        self.own.close()


@pytest.fixture
def sides():
    both = Sides()
    yield both
    both.close()


def test_a_payload_is_read_where_it_was_written(sides):
    """The reader sees the writer's bytes, aligned, and cannot write to them."""
    payload = os.urandom(10_000)
    view = sides.view(sides.own.put(payload))
    assert view == payload
    assert view.readonly


def test_it_is_freed_with_its_last_view(sides):
    """A slice, or an array made of it, keeps a payload; when nothing does, its offset is told, once."""
    put = sides.own.put(b"x" * 100)
    view = sides.view(put)
    part = view[10:20]
    del view
    gc.collect()
    assert sides.freed == []
    assert bytes(part) == b"x" * 10
    del part
    gc.collect()
    assert sides.freed == [put.offset]


def test_released_memory_is_used_again(sides):
    """What the peer has read makes room; before that there is none."""
    puts = [sides.own.put(bytes(1 << 18)) for _ in range(4)]
    assert None not in puts
    assert sides.own.put(b"x") is None
    sides.own.release(puts[1].offset)
    assert sides.own.put(b"x") == SharedPayload(puts[1].offset, 1)


def test_releasing_what_is_not_out_is_corrupt(sides):
    """A peer that releases twice, or at random, is told so."""
    put = sides.own.put(b"abc")
    sides.own.release(put.offset)
    with pytest.raises(CorruptData, match="offset of a payload that is out, got 0"):
        sides.own.release(put.offset)


@pytest.mark.parametrize("payload", [SharedPayload(0, (1 << 20) + 1), SharedPayload(1 << 20, 1)])
def test_a_payload_beyond_the_memory_is_corrupt(sides, payload):
    """Nothing outside the memory is ever read."""
    with pytest.raises(CorruptData, match="of 1048576 shared bytes"):
        sides.view(payload)


def test_memory_that_can_shrink_is_refused():
    """A file that its writer could cut off would end its reader: it is not taken."""
    descriptor = os.memfd_create("shrinks")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(CorruptData, match="could shrink"):
        PeerMemory(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 200))
def test_frames_arrive_as_they_were(payloads, least_bytes):
    """Whatever part of a frame is shared, the reader gets its payloads in order."""
    sides = Sides(2048)
    sent = placed(sides.own, Frame(HEADER, tuple(payloads)), least_bytes)
    (got,) = decode(encode([sent]), sides.view)
    assert got.header == HEADER
    assert [bytes(part) for part in got.payloads] == payloads
    assert sent.payload_bytes == sum(map(len, sent.payloads))
    sides.close()


def test_a_frame_is_shared_whole_or_not_at_all(sides):
    """Where one payload has no room, all are sent, and nothing stays taken."""
    frame = Frame(HEADER, (bytes(1 << 19), bytes(1 << 20)))
    assert placed(sides.own, frame, 1024) is frame
    assert sides.own.taken_bytes == 0


def test_a_shared_payload_needs_shared_memory(sides):
    """On a stream without shared memory a frame that names some is corrupt."""
    envelope = encode([placed(sides.own, Frame(HEADER, (bytes(5000),)), 1024)])
    with pytest.raises(CorruptData, match="not shared"):
        decode(envelope)

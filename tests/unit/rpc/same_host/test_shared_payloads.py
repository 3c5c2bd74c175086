"""Payloads of frames in shared memory."""

from __future__ import annotations

import gc
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.rpc.same_host.shared_payloads import copy_payloads_in, share_payloads
from onnxmesh.v1.frame_pb2 import FrameHeader, Load
from tests.fakes.memory_sides import Sides

HEADER = FrameHeader(load=Load(queued=3))


@pytest.fixture
def sides():
    both = Sides()
    yield both
    both.close()


@given(st.lists(st.binary(max_size=300), max_size=8), st.integers(1, 200))
def test_share_payloads_keeps_payloads_and_their_order(payloads, least_bytes):
    """Whichever payloads are shared, the reader gets all of them in order."""
    sides = Sides(2048)
    sent = share_payloads(sides.own, Frame(HEADER, tuple(payloads)), least_bytes)
    (got,) = decode_envelope(encode_envelope([sent]), sides.view)
    assert got.header == HEADER
    assert [bytes(part) for part in got.payloads] == payloads
    assert sent.payload_bytes == sum(map(len, sent.payloads))
    sides.close()


def test_share_payloads_shares_all_large_payloads_or_none(sides):
    """Where one does not fit, all are sent and no memory stays in use."""
    frame = Frame(HEADER, (bytes(1 << 19), bytes(1 << 20)))
    assert share_payloads(sides.own, frame, 1024) is frame
    assert sides.own.used_bytes == 0


def test_shared_payloads_are_corrupt_on_a_stream_without_shared_memory(sides):
    """A reference to memory that is not shared is no payload."""
    envelope = encode_envelope([share_payloads(sides.own, Frame(HEADER, (bytes(5000),)), 1024)])
    with pytest.raises(CorruptData, match="not shared"):
        decode_envelope(envelope)


def test_copy_payloads_in_copies_large_payloads_once(sides):
    """Sharing them then needs no memory; a frame that is dropped before leaves none in use."""
    payloads = (os.urandom(5000), b"small", os.urandom(6000))
    frame = copy_payloads_in(sides.own, Frame(HEADER, payloads), 1024)
    assert copy_payloads_in(sides.own, frame, 1024).payloads == frame.payloads == payloads
    taken = sides.own.used_bytes
    sent = share_payloads(sides.own, frame, 1024)
    assert sides.own.used_bytes == taken
    (got,) = decode_envelope(encode_envelope([sent]), sides.view)
    assert [bytes(part) for part in got.payloads] == [bytes(part) for part in payloads]
    for _, each in sent.shared:
        sides.own.release(each.offset)
    del frame
    gc.collect()
    assert sides.own.used_bytes == 0


def test_copy_payloads_in_leaves_payloads_that_do_not_fit(sides):
    """They are sent."""
    frame = Frame(HEADER, (bytes(2 << 20), bytes(2048)))
    there = copy_payloads_in(sides.own, frame, 1024)
    assert there.payloads[0] is frame.payloads[0]
    assert share_payloads(sides.own, there, 1024) is there

"""Header blocks, assembled from frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, PRIORITY_FLAG
from onnxmesh.http2.protocol.header_frames import MAX_CONTINUATIONS, HeaderFrames

MAX_BYTES = 200


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=10), st.booleans())
def test_header_frames_assemble_a_block_however_it_is_cut(pieces, is_last):
    """It is complete with its last piece, not before, and then any frame may follow."""
    frames = HeaderFrames(MAX_BYTES)
    ends = [0] * (len(pieces) - 1) + [END_HEADERS]
    whole = [frames.receive_headers(ends[0] | (END_STREAM if is_last else 0), 7, pieces[0])]
    for end, piece in zip(ends[1:], pieces[1:], strict=True):
        assert frames.incomplete is not None
        whole.append(frames.receive_continuation(CONTINUATION, end, 7, piece))
    assert whole[:-1] == [None] * (len(pieces) - 1)
    assert (whole[-1].data, whole[-1].stream_id, whole[-1].end_stream) == (b"".join(pieces), 7, is_last)
    assert frames.incomplete is None


def test_header_frames_strip_the_priority():
    """It comes first, where the flags say so."""
    whole = HeaderFrames(MAX_BYTES).receive_headers(END_HEADERS | PRIORITY_FLAG, 1, b"\0\0\0\0\x10block")
    assert whole.data == b"block"


@pytest.mark.parametrize(("kind", "stream"), [(DATA, 1), (CONTINUATION, 3)], ids=["kind", "stream"])
def test_header_frames_refuse_other_frames_before_a_block_is_complete(kind, stream):
    """Neither a frame of another type nor a piece of another block."""
    frames = HeaderFrames(MAX_BYTES)
    frames.receive_headers(0, 1, b"\x82")
    with pytest.raises(ConnectionFault, match="expected CONTINUATION of the stream 1") as fault:
        frames.receive_continuation(kind, END_HEADERS, stream, b"\x84")
    assert fault.value.code is ErrorCode.PROTOCOL_ERROR


def test_header_frames_refuse_a_block_without_end():
    """By its CONTINUATION frames, which may be empty, and by its bytes."""
    frames = HeaderFrames(MAX_BYTES)
    frames.receive_headers(0, 1, b"\x82")
    for _ in range(MAX_CONTINUATIONS):
        frames.receive_continuation(CONTINUATION, 0, 1, b"")
    with pytest.raises(ConnectionFault) as fault:
        frames.receive_continuation(CONTINUATION, END_HEADERS, 1, b"")
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM

    frames = HeaderFrames(MAX_BYTES)
    frames.receive_headers(0, 1, bytes(MAX_BYTES - 1))
    assert len(frames.receive_continuation(CONTINUATION, END_HEADERS, 1, b"\0").data) == MAX_BYTES

    frames = HeaderFrames(MAX_BYTES)
    frames.receive_headers(0, 1, bytes(MAX_BYTES))
    with pytest.raises(ConnectionFault, match=rf"headers of {MAX_BYTES + 1} bytes"):
        frames.receive_continuation(CONTINUATION, END_HEADERS, 1, b"\0")


@pytest.mark.parametrize(
    ("flags", "stream", "payload", "code"),
    [
        (END_HEADERS | PRIORITY_FLAG, 1, b"\0\0\0\0", ErrorCode.FRAME_SIZE_ERROR),
        (END_HEADERS, 2, b"", ErrorCode.PROTOCOL_ERROR),
        (END_HEADERS, 1, bytes(MAX_BYTES + 1), ErrorCode.ENHANCE_YOUR_CALM),
    ],
    ids=["half a priority", "a stream of the server", "too long"],
)
def test_header_frames_refuse_headers_that_no_client_may_send(flags, stream, payload, code):
    """They end the connection."""
    with pytest.raises(ConnectionFault) as fault:
        HeaderFrames(MAX_BYTES).receive_headers(flags, stream, payload)
    assert fault.value.code is code

"""Header blocks out of the frames that they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, PRIORITISED
from onnxmesh.http2.protocol.header_frames import MAX_CONTINUATIONS, HeaderFrames

MAX_BYTES = 200


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=10), st.booleans())
def test_a_block_is_the_same_however_it_is_cut(pieces, is_last):
    """It is there with its last piece, not before, and then any frame may follow."""
    frames = HeaderFrames(MAX_BYTES)
    ends = [0] * (len(pieces) - 1) + [END_HEADERS]
    whole = [frames.begin(ends[0] | (END_STREAM if is_last else 0), 7, pieces[0])]
    for end, piece in zip(ends[1:], pieces[1:], strict=True):
        assert frames.unfinished is not None
        whole.append(frames.go_on(CONTINUATION, end, 7, piece))
    assert whole[:-1] == [None] * (len(pieces) - 1)
    assert (whole[-1].block, whole[-1].stream, whole[-1].is_last) == (b"".join(pieces), 7, is_last)
    assert frames.unfinished is None


def test_a_priority_is_no_part_of_the_block():
    """It comes first, where the flags say so."""
    whole = HeaderFrames(MAX_BYTES).begin(END_HEADERS | PRIORITISED, 1, b"\0\0\0\0\x10block")
    assert whole.block == b"block"


@pytest.mark.parametrize(("kind", "stream"), [(DATA, 1), (CONTINUATION, 3)], ids=["kind", "stream"])
def test_nothing_comes_between_the_pieces(kind, stream):
    """Neither a frame of another kind nor a piece of another block: the tables would be read out of order."""
    frames = HeaderFrames(MAX_BYTES)
    frames.begin(0, 1, b"\x82")
    with pytest.raises(ConnectionFault, match="expected CONTINUATION of the stream 1") as fault:
        frames.go_on(kind, END_HEADERS, stream, b"\x84")
    assert fault.value.code is ErrorCode.PROTOCOL_ERROR


def test_a_block_that_never_ends_is_refused():
    """Pieces without a byte are counted, others by their bytes."""
    frames = HeaderFrames(MAX_BYTES)
    frames.begin(0, 1, b"\x82")
    for _ in range(MAX_CONTINUATIONS):
        frames.go_on(CONTINUATION, 0, 1, b"")
    with pytest.raises(ConnectionFault) as fault:
        frames.go_on(CONTINUATION, END_HEADERS, 1, b"")
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM

    frames = HeaderFrames(MAX_BYTES)
    frames.begin(0, 1, bytes(MAX_BYTES))
    with pytest.raises(ConnectionFault, match=rf"headers of {MAX_BYTES + 1} bytes"):
        frames.go_on(CONTINUATION, END_HEADERS, 1, b"\0")


@pytest.mark.parametrize(
    ("flags", "stream", "payload", "code"),
    [
        (END_HEADERS | PRIORITISED, 1, b"\0\0\0\0", ErrorCode.FRAME_SIZE_ERROR),
        (END_HEADERS, 2, b"", ErrorCode.PROTOCOL_ERROR),
        (END_HEADERS, 1, bytes(MAX_BYTES + 1), ErrorCode.ENHANCE_YOUR_CALM),
    ],
    ids=["half a priority", "a stream of the server", "too long"],
)
def test_headers_that_no_client_may_send(flags, stream, payload, code):
    """They end the connection."""
    with pytest.raises(ConnectionFault) as fault:
        HeaderFrames(MAX_BYTES).begin(flags, stream, payload)
    assert fault.value.code is code

"""The wire form of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.memory.layout.shared_payload import PAYLOAD_ALIGNMENT
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.v1.frame_pb2 import Activation, Cancel, Envelope, FrameHeader, Load, RequestKey

payloads = st.lists(st.binary(max_size=70_000), max_size=4)
headers = st.one_of(
    st.builds(
        lambda number, request: FrameHeader(
            activation=Activation(key=RequestKey(origin="gateway", number=number), request_id=request)
        ),
        st.integers(0, 2**64 - 1),
        st.text(max_size=300),
    ),
    st.builds(lambda queued: FrameHeader(load=Load(queued=queued)), st.integers(0, 2**32 - 1)),
    st.just(FrameHeader(cancel=Cancel())),
    st.just(FrameHeader()),
)
frames = st.lists(st.builds(lambda header, parts: Frame(header, tuple(parts)), headers, payloads), max_size=5)


def address(data):
    return np.frombuffer(data, np.uint8).__array_interface__["data"][0]


@given(frames)
def test_decode_envelope_restores_what_encode_envelope_wrote(sent):
    """Any list of frames survives the wire, in order."""
    got = decode_envelope(encode_envelope(sent))
    assert [frame.header for frame in got] == [frame.header for frame in sent]
    assert [[bytes(part) for part in frame.payloads] for frame in got] == [
        [bytes(part) for part in frame.payloads] for frame in sent
    ]


@given(frames)
def test_encode_envelope_writes_ordinary_protobuf(sent):
    """A program without this codec reads the same from the bytes, by the .proto alone."""
    envelope = Envelope.FromString(encode_envelope(sent))
    assert [FrameHeader.FromString(frame.header) for frame in envelope.frames] == [
        frame.header for frame in sent
    ]
    assert [list(frame.payloads) for frame in envelope.frames] == [
        [bytes(part) for part in frame.payloads] for frame in sent
    ]


@given(frames)
def test_decode_envelope_reads_ordinary_protobuf(sent):
    """The codec reads what a program without it writes."""
    envelope = Envelope()
    for frame in sent:
        envelope.frames.add(
            header=frame.header.SerializeToString(), payloads=[bytes(p) for p in frame.payloads]
        )
    assert [frame.header for frame in decode_envelope(envelope.SerializeToString())] == [
        f.header for f in sent
    ]


@given(
    headers,
    st.binary(min_size=PAYLOAD_ALIGNMENT, max_size=300),
    headers,
    st.integers(PAYLOAD_ALIGNMENT, 20_000),
)
def test_encode_envelope_aligns_payloads(header, small, other, size):
    """Every payload begins at a multiple of the alignment, whatever stands before it."""
    message = encode_envelope([Frame(header, (small, small)), Frame(other, (b"\xa5" * size, small))])
    start = address(message)
    for frame in decode_envelope(message):
        assert all((address(payload) - start) % PAYLOAD_ALIGNMENT == 0 for payload in frame.payloads)


def test_decode_envelope_returns_views():
    """No payload byte is copied when it is received."""
    message = encode_envelope([Frame(FrameHeader(), (b"0123456789abcdef",))])
    payload = decode_envelope(message)[0].payloads[0]
    assert isinstance(payload, memoryview)
    assert payload.obj is message


def test_encode_envelope_without_frames_is_empty():
    """Nothing to say takes no bytes."""
    assert encode_envelope([]) == b""
    assert decode_envelope(b"") == []


@given(st.binary(max_size=200))
def test_decode_envelope_refuses_garbage_or_returns_frames(garbage):
    """Bytes from elsewhere either happen to be an Envelope or raise CorruptData; nothing else."""
    try:
        decode_envelope(garbage)
    except CorruptData as error:
        assert "expected an Envelope" in error.message


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_decode_envelope_refuses_a_truncated_envelope(kept):
    """A truncated message is never read as a whole one."""
    message = encode_envelope([Frame(FrameHeader(load=Load(queued=1)), (b"x" * 1000,))])
    with pytest.raises(CorruptData):
        decode_envelope(message[: int(len(message) * kept)])

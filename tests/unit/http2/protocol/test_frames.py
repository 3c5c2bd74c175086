"""Frames of HTTP/2, against the library hyperframe."""

from __future__ import annotations

from itertools import combinations, pairwise

import hyperframe.frame as oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, NotHttp2
from onnxmesh.http2.protocol.frames import (
    DATA,
    END_STREAM,
    FRAME_HEADER_BYTES,
    PREFACE,
    FrameReader,
    FrameType,
    frame,
    read_settings,
    read_uint32,
    settings_frame,
    uint32,
)

MAX = 70_000

streams = st.integers(1, 2**31 - 1)
payloads = st.binary(max_size=300) | st.integers(2_000, MAX - 300).map(bytes)


@st.composite
def frames(draw):
    """A frame of the oracle, and its payload."""
    stream, payload = draw(streams), draw(payloads)
    which = draw(st.sampled_from(["data", "headers", "continuation", "ping", "reset", "window", "unknown"]))
    if which in ("data", "headers"):
        kind = oracle.DataFrame if which == "data" else oracle.HeadersFrame
        made = kind(stream, data=payload)
        if draw(st.booleans()):
            made.flags.add("END_STREAM")
        if draw(st.booleans()):
            made.flags.add("PADDED")
            made.pad_length = draw(st.integers(0, 255))
        return made, payload
    if which == "continuation":
        return oracle.ContinuationFrame(stream, data=payload), payload
    if which == "ping":
        return oracle.PingFrame(0, opaque_data=b"12345678"), b"12345678"
    if which == "reset":
        return oracle.RstStreamFrame(stream, error_code=8), uint32(8)
    if which == "window":
        return oracle.WindowUpdateFrame(stream, window_increment=77), uint32(77)
    made = oracle.ExtensionFrame(stream_id=stream, type=0xB9, flag_byte=0x4, body=payload)
    made.body_len = len(payload)
    return made, payload


@settings(deadline=None)
@given(made=st.lists(frames(), max_size=8), cuts=st.lists(st.integers(0, 400_000), max_size=12))
def test_frame_reader_reads_frames_wherever_they_are_cut(made, cuts):
    """Types, flags, streams and payloads are those that were sent; padding takes of the windows too."""
    wire = PREFACE + b"".join(each.serialize() for each, _ in made)
    reader = FrameReader(MAX)
    got = []
    borders = sorted({0, len(wire), *(cut % (len(wire) + 1) for cut in cuts)})
    for begin, end in pairwise(borders):
        got += [(*head, bytes(payload), size) for *head, payload, size in reader.feed(wire[begin:end])]
    at = 0
    for each, payload in made:
        whole = each.serialize()
        kind, flags, length = whole[3], whole[4], len(whole) - FRAME_HEADER_BYTES
        data, size = b"", 0
        while True:
            got_kind, got_flags, stream, piece, piece_size = got[at]
            at += 1
            assert (got_kind, stream) == (kind, each.stream_id)
            data, size = data + piece, size + piece_size
            if size == length:
                break
            assert (kind, got_flags) == (DATA, 0), (
                "only DATA come in pieces, and only the last one may end the stream"
            )
        assert got_flags == flags
        assert data == payload
    assert at == len(got)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=100))
def test_frame_reader_raises_nothing_but_faults(data):
    """Whatever a client sends, nothing else is raised."""
    reader = FrameReader(MAX)
    try:
        for kind, *_ in reader.feed(PREFACE + data):
            assert 0 <= kind <= 255
    except ConnectionFault as fault:
        assert fault.code in (ErrorCode.FRAME_SIZE_ERROR, ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00", PREFACE[:20] + b"?", b"PRI * HTTP/1"]
)
def test_frame_reader_recognises_other_protocols_by_their_first_bytes(data):
    """HTTP/1.1 and TLS among them; even byte by byte."""
    with pytest.raises(NotHttp2) as caught:
        list(FrameReader(MAX).feed(data))
    assert caught.value.first_bytes == data
    reader = FrameReader(MAX)
    with pytest.raises(NotHttp2):
        for byte in data:
            list(reader.feed(bytes((byte,))))


def test_frame_reader_yields_the_frames_before_a_fault():
    """They are not lost with the one that is too long."""
    long = frame(FrameType.DATA, 0, 1, bytes(MAX + 1))
    got = []
    with pytest.raises(ConnectionFault) as caught:
        got.extend(FrameReader(MAX).feed(PREFACE + frame(FrameType.PING, 0, 0, b"12345678") + long))
    assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR
    assert [kind for kind, *_ in got] == [FrameType.PING]


@pytest.mark.parametrize("payload", [b"", b"\x05abcd", b"\x01"])
def test_frame_reader_refuses_padding_longer_than_its_frame(payload):
    """PROTOCOL_ERROR, as HTTP/2 has it."""
    with pytest.raises(ConnectionFault) as caught:
        list(FrameReader(MAX).feed(PREFACE + frame(FrameType.DATA, 0x8 | END_STREAM, 1, payload)))
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 2**16 - 1), st.integers(0, 2**32 - 1)))
def test_settings_are_read_as_they_were_written(wanted):
    """By the oracle, and by us."""
    wire = settings_frame(wanted)
    read, _ = oracle.Frame.parse_frame_header(memoryview(wire[:FRAME_HEADER_BYTES]))
    read.parse_body(memoryview(wire[FRAME_HEADER_BYTES:]))
    assert read.settings == wanted
    assert dict(read_settings(wire[FRAME_HEADER_BYTES:])) == wanted


def test_frames_of_fixed_size_refuse_other_sizes():
    """A frame of another size than its type has is a FRAME_SIZE_ERROR."""
    for wrong in (lambda: read_uint32(b"123", FrameType.RST_STREAM), lambda: read_settings(b"12345")):
        with pytest.raises(ConnectionFault) as caught:
            wrong()
        assert caught.value.code is ErrorCode.FRAME_SIZE_ERROR


@given(st.integers(0, 2**32 - 1))
def test_uint32_is_read_as_it_was_written(value):
    """In network byte order."""
    assert uint32(value) == value.to_bytes(4, "big")
    assert read_uint32(uint32(value), FrameType.WINDOW_UPDATE) == value


def test_frame_types_are_those_of_http2():
    """By number, as the library hyperframe has them."""
    theirs = {number: kind.__name__ for number, kind in oracle.FRAMES.items() if number < 10}
    ours = {each.value: each.name.title().replace("_", "") + "Frame" for each in FrameType}
    assert ours == theirs | {FrameType.GOAWAY: "GoawayFrame"}


@pytest.mark.parametrize("flags", [0, END_STREAM])
def test_frame_reader_reads_data_cut_at_any_two_places(flags):
    """Its pieces make up the payload, the last one alone has the flags, and the next frame follows."""
    data = frame(FrameType.DATA, flags, 5, b"0123456789")
    wire = data + frame(FrameType.PING, 0, 0, b"12345678")
    for cuts in combinations(range(len(wire) + 1), 2):
        reader = FrameReader(MAX)
        list(reader.feed(PREFACE))
        got = []
        for begin, end in pairwise((0, *cuts, len(wire))):
            got += reader.feed(wire[begin:end])
        *pieces, ping = got
        assert (ping[0], bytes(ping[3])) == (FrameType.PING, b"12345678")
        assert b"".join(bytes(piece[3]) for piece in pieces) == b"0123456789"
        assert [piece[4] for piece in pieces] == [len(piece[3]) for piece in pieces]
        assert [piece[:3] for piece in pieces] == [(DATA, 0, 5)] * (len(pieces) - 1) + [(DATA, flags, 5)]

"""HPACK header blocks, against the library hpack."""

from __future__ import annotations

import base64

import grpc
import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, StreamFault
from onnxmesh.http2.protocol.header_blocks import (
    GZIP_HEADERS,
    OK_TRAILERS,
    RESPONSE_HEADERS,
    HeaderDecoder,
    http_error_headers,
    response_headers,
    trailers,
)
from onnxmesh.http2.protocol.request_head import RequestHead

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
    (b":authority", b"here:8001"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", b"a client"),
]

names = st.sampled_from([b"traceparent", b"x-a", b"x-b", b"x-long-name-of-a-header"])
values = st.text("abc ,=;/-_0", max_size=40).map(str.encode)
extras = st.lists(st.tuples(names, values, st.booleans()), max_size=4)


@settings(deadline=None)
@given(calls=st.lists(extras, min_size=1, max_size=8), sizes=st.lists(st.integers(0, 4096), max_size=8))
def test_header_decoder_agrees_with_the_oracle(calls, sizes):
    """However the client uses and resizes its dynamic table, cached blocks included."""
    encoder, oracle, decoder = Encoder(), Decoder(), HeaderDecoder(64 << 10)
    for number, more in enumerate([*calls, *calls]):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        block = encoder.encode([*REQUEST, *more])
        expected = oracle.decode(block, raw=True)
        head = decoder.request_head(block)
        assert head == RequestHead.from_headers(expected)
        assert [entry for entry in head.metadata if entry[0] != "user-agent"] == [
            (name.decode(), value.decode("latin-1")) for name, value, _ in more
        ]


def test_header_decoder_caches_blocks_until_the_dynamic_table_changes():
    """Clients send the same block again and again; it means something else once the table is another."""
    encoder, decoder = Encoder(), HeaderDecoder(64 << 10)
    decoder.request_head(encoder.encode(REQUEST))
    again = encoder.encode(REQUEST)
    first = decoder.request_head(again)
    assert decoder.request_head(again) is first
    decoder.request_head(encoder.encode([*REQUEST, (b"x-new", b"1")]))
    same = encoder.encode(REQUEST)
    assert same != again
    assert decoder.request_head(same) == first


def test_header_decoder_bounds_its_cache():
    """A client that never sends the same twice, or very long ones, costs no memory."""
    encoder, decoder = Encoder(), HeaderDecoder(64 << 10)
    decoder.request_head(encoder.encode([*REQUEST, (b"x-long", b"x" * 10_000, True)]))
    assert not decoder._heads
    for number in range(1000):
        decoder.request_head(encoder.encode([*REQUEST, (b"x-n", str(number).encode(), True)]))
    assert len(decoder._heads) <= 64
    assert len(decoder._prefixes) <= 64


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_header_decoder_raises_nothing_but_faults(block):
    """Whatever a client sends, nothing else is raised."""
    decoder = HeaderDecoder(1_000)
    for _ in range(2):
        try:
            decoder.request_head(block)
        except StreamFault as fault:
            assert fault.code is ErrorCode.PROTOCOL_ERROR
        except ConnectionFault as fault:
            assert fault.code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)


def test_header_decoder_refuses_headers_that_become_long():
    """A reference of one byte may stand for kilobytes: its call is refused, and an attack ends the connection."""
    encoder, decoder = Encoder(), HeaderDecoder(8_000)
    long = (b"x-long", b"x" * 3_000)
    assert not decoder.request_head(encoder.encode([*REQUEST, long])).is_too_long
    for _ in range(2):
        head = decoder.request_head(encoder.encode([*REQUEST, long, long, long]))
        assert (head.is_too_long, head.http_status, head.path) == (True, 200, REQUEST[2][1].decode())
    assert not decoder.request_head(encoder.encode(REQUEST)).is_too_long
    with pytest.raises(ConnectionFault) as caught:
        decoder.request_head(encoder.encode([*REQUEST, *[long] * 12]))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


@settings(deadline=None)
@given(st.lists(st.tuples(extras, st.integers(0, 9_000)), min_size=1, max_size=6))
def test_header_decoder_agrees_with_the_oracle_after_long_blocks(calls):
    """A block that was refused has changed the table as the client expects, whatever it had."""
    encoder, oracle, decoder = Encoder(), Decoder(1 << 20), HeaderDecoder(4_000)
    for more, size in calls:
        block = encoder.encode([*REQUEST, *more, (b"x-filler", b"~" * size), *more], huffman=False)
        expected = oracle.decode(block, raw=True)
        assert decoder.request_head(block).is_too_long == (
            sum(len(name) + len(value) + 32 for name, value in expected) > 4_000
        )
        assert decoder._decoder.header_table.dynamic_entries == oracle.header_table.dynamic_entries
        block = encoder.encode([*REQUEST, *more])
        assert decoder.request_head(block) == RequestHead.from_headers(oracle.decode(block, raw=True))


def test_header_decoder_skips_trailers():
    """And says whether they were too long."""
    encoder, decoder = Encoder(), HeaderDecoder(1_000)
    assert not decoder.skip(encoder.encode([(b"x-a", b"1")]))
    assert decoder.skip(encoder.encode([(b"x-b", b"2" * 2_000)]))
    head = decoder.request_head(encoder.encode([*REQUEST, (b"x-a", b"1")]))
    assert head.metadata[-1] == ("x-a", "1")


def test_header_decoder_refuses_a_table_size_update_amid_a_block():
    """HPACK allows it at the beginning alone."""
    with pytest.raises(ConnectionFault) as caught:
        HeaderDecoder(8_000).request_head(b"\x82\x20")
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


metadata_entries = st.one_of(
    st.tuples(st.just("x-text"), st.text(st.characters(min_codepoint=32, max_codepoint=126))),
    st.tuples(st.just("x-data-bin"), st.binary()),
)


@settings(deadline=None)
@given(
    code=st.sampled_from(grpc.StatusCode), message=st.text(max_size=300), metadata=st.lists(metadata_entries)
)
def test_trailers_are_decoded_by_the_oracle(code, message, metadata):
    """Trailers need no table; messages come percent-encoded, binary values as base64."""
    decoder = Decoder(1 << 20)
    for _ in range(2):
        read = decoder.decode(trailers(code.value[0], message, tuple(metadata)), raw=True)
        assert not decoder.header_table.dynamic_entries
    fields = dict(read)
    assert fields[b"grpc-status"] == str(code.value[0]).encode()
    sent = fields.get(b"grpc-message", b"")
    assert all(0x20 <= byte <= 0x7E for byte in sent)
    decoded = decode_percent(sent)
    assert decoded == message.encode("utf-8", "replace")
    entries = [(name, value) for name, value in read if name.startswith(b"x-")]
    assert entries == [
        (key.encode(), base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode())
        for key, value in metadata
    ]


def decode_percent(text):
    head, *rest = text.split(b"%")
    return head + b"".join(bytes.fromhex(each[:2].decode()) + each[2:] for each in rest)


def test_constant_header_blocks():
    """Any decoder reads them, whatever its dynamic table."""
    decoder = Decoder()
    headers = [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", b"identity, deflate, gzip"),
    ]
    assert decoder.decode(RESPONSE_HEADERS, raw=True) == headers
    assert decoder.decode(response_headers((("k", "v"),)), raw=True) == [*headers, (b"k", b"v")]
    assert decoder.decode(OK_TRAILERS, raw=True) == [(b"grpc-status", b"0")]
    assert decoder.decode(GZIP_HEADERS, raw=True) == [*headers, (b"grpc-encoding", b"gzip")]
    plain = (b"content-type", b"text/plain; charset=utf-8")
    assert decoder.decode(http_error_headers(415), raw=True) == [(b":status", b"415"), plain]
    assert decoder.decode(http_error_headers(405), raw=True) == [
        (b":status", b"405"),
        plain,
        (b"allow", b"POST"),
    ]

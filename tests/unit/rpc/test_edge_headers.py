"""Header blocks, against the library hpack."""

from __future__ import annotations

import base64

import grpc
import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, StreamFault
from onnxmesh.http2.protocol.header_blocks import (
    ANSWER_HEADERS,
    OK_TRAILERS,
    HeaderBlocks,
    answer_headers,
    http_refusal,
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
def test_blocks_mean_what_the_oracle_says(calls, sizes):
    """However the client uses and changes its table, kept blocks included."""
    encoder, oracle, blocks = Encoder(), Decoder(), HeaderBlocks(64 << 10)
    for number, more in enumerate([*calls, *calls]):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        block = encoder.encode([*REQUEST, *more])
        expected = oracle.decode(block, raw=True)
        head = blocks.head(block)
        assert head == RequestHead.of(expected)
        assert [entry for entry in head.metadata if entry[0] != "user-agent"] == [
            (name.decode(), value.decode("latin-1")) for name, value, _ in more
        ]


def test_a_block_that_changes_nothing_is_read_once():
    """Clients send the same block again and again; it means something else once the table is another."""
    encoder, blocks = Encoder(), HeaderBlocks(64 << 10)
    blocks.head(encoder.encode(REQUEST))
    again = encoder.encode(REQUEST)
    first = blocks.head(again)
    assert blocks.head(again) is first
    blocks.head(encoder.encode([*REQUEST, (b"x-new", b"1")]))
    same = encoder.encode(REQUEST)
    assert same != again
    assert blocks.head(same) == first


def test_blocks_of_many_kinds_do_not_pile_up():
    """A client that never sends the same twice, or very long ones, costs no memory."""
    encoder, blocks = Encoder(), HeaderBlocks(64 << 10)
    blocks.head(encoder.encode([*REQUEST, (b"x-long", b"x" * 10_000, True)]))
    assert not blocks._known
    for number in range(1000):
        blocks.head(encoder.encode([*REQUEST, (b"x-n", str(number).encode(), True)]))
    assert len(blocks._known) <= 64
    assert len(blocks._prefixes) <= 64


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_fault(block):
    """Whatever a client sends, nothing else is raised."""
    blocks = HeaderBlocks(1_000)
    for _ in range(2):
        try:
            blocks.head(block)
        except StreamFault as fault:
            assert fault.code is ErrorCode.PROTOCOL_ERROR
        except ConnectionFault as fault:
            assert fault.code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)


def test_headers_that_become_long_are_refused():
    """A reference of one byte may stand for kilobytes."""
    encoder, blocks = Encoder(), HeaderBlocks(8_000)
    long = (b"x-long", b"x" * 3_000)
    blocks.head(encoder.encode([*REQUEST, long]))
    with pytest.raises(ConnectionFault) as caught:
        blocks.head(encoder.encode([*REQUEST, long, long, long]))
    assert caught.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_a_change_of_the_tables_size_amid_a_block():
    """It is allowed at the beginning alone."""
    with pytest.raises(ConnectionFault) as caught:
        HeaderBlocks(8_000).head(b"\x82\x20")
    assert caught.value.code is ErrorCode.COMPRESSION_ERROR


metadata_entries = st.one_of(
    st.tuples(st.just("x-text"), st.text(st.characters(min_codepoint=32, max_codepoint=126))),
    st.tuples(st.just("x-data-bin"), st.binary()),
)


@settings(deadline=None)
@given(
    code=st.sampled_from(grpc.StatusCode), message=st.text(max_size=300), metadata=st.lists(metadata_entries)
)
def test_what_is_sent_is_read_by_the_oracle(code, message, metadata):
    """Trailers need no table; messages come percent-encoded, binary values as base64."""
    decoder = Decoder(1 << 20)
    for _ in range(2):
        read = decoder.decode(trailers(code, message, tuple(metadata)), raw=True)
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


def test_constant_blocks():
    """They say what they should, to anyone."""
    decoder = Decoder()
    headers = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    assert decoder.decode(ANSWER_HEADERS, raw=True) == headers
    assert decoder.decode(answer_headers((("k", "v"),)), raw=True) == [*headers, (b"k", b"v")]
    assert decoder.decode(OK_TRAILERS, raw=True) == [(b"grpc-status", b"0")]
    assert decoder.decode(http_refusal(415), raw=True) == [(b":status", b"415")]


def changed(**changes):
    """REQUEST with other headers; None: without."""
    wanted = {name.replace("_", "-"): value for name, value in changes.items()}
    kept = [(name, value) for name, value in REQUEST if name.decode().lstrip(":") not in wanted]
    return kept + [(name.encode(), value) for name, value in wanted.items() if value is not None]


def test_what_a_call_says_of_itself():
    """Path, timeout and metadata; what belongs to the protocol is no metadata."""
    head = RequestHead.of(
        [
            *REQUEST,
            (b"grpc-timeout", b"1500m"),
            (b"grpc-encoding", b"gzip"),
            (b"grpc-accept-encoding", b"gzip"),
            (b"traceparent", b"00-a-b-01"),
            (b"padded-bin", b"AAE="),
            (b"plain-bin", b"AAE,AAI"),
        ]
    )
    assert head.path == "/inference.GRPCInferenceService/ModelInfer"
    assert head.timeout_s == pytest.approx(1.5)
    assert head.encoding == "gzip"
    assert head.refusal is None
    assert head.metadata == (
        ("user-agent", "a client"),
        ("traceparent", "00-a-b-01"),
        ("padded-bin", b"\x00\x01"),
        ("plain-bin", b"\x00\x01"),
        ("plain-bin", b"\x00\x02"),
    )


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(b"2H", 7200), (b"3M", 180), (b"20S", 20), (b"5m", 5e-3), (b"7u", 7e-6), (b"9n", 9e-9)],
)
def test_units_of_timeouts(timeout, seconds):
    """Hours, minutes, seconds and their parts."""
    assert RequestHead.of(changed(grpc_timeout=timeout)).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "changes",
    [
        {"te": None},
        {"te": b"gzip"},
        {"grpc_timeout": b"20"},
        {"grpc_timeout": b"123456789S"},
        {"grpc_timeout": b"-1S"},
        {"wrong_bin": b"$"},
        {"wrong_bin": b"A"},
        {"wrong": b"\xe4"},
        {"wro$ng": b"a"},
    ],
)
def test_requests_that_are_refused_with_a_status(changes):
    """They are HTTP/2, but not the gRPC that a client should speak."""
    refusal = RequestHead.of(changed(**changes)).refusal
    assert refusal is not None
    assert refusal[0] is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("path", [b"no-slash", b"/a b", b"/\xff"])
def test_paths_that_are_no_methods(path):
    """UNIMPLEMENTED, here: gRPC's server behind is not bothered with them."""
    headers = [(name, path if name == b":path" else value) for name, value in REQUEST]
    assert RequestHead.of(headers).refusal[0] is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("content_type", "method", "status"),
    [
        (b"application/grpc", b"POST", 200),
        (b"application/grpc+proto", b"POST", 200),
        (b"application/grpc;a=b", b"POST", 200),
        (b"application/grpc-web", b"POST", 415),
        (b"application/json", b"POST", 415),
        (None, b"POST", 415),
        (b"application/grpc", b"GET", 405),
    ],
)
def test_clients_that_speak_no_grpc(content_type, method, status):
    """They are told in the way of HTTP."""
    headers = [(b":method", method), *changed(method=None, content_type=content_type)]
    assert RequestHead.of([each for each in headers if each[0] != b"method"]).http_status == status


@pytest.mark.parametrize(
    "headers",
    [
        [],
        REQUEST[1:],
        [*REQUEST[:2], *REQUEST[3:]],
        [REQUEST[0], *REQUEST],
        [*REQUEST, (b":path", b"/late")],
        [(b":status", b"200"), *REQUEST],
        [*REQUEST, (b"Upper", b"x")],
        [*REQUEST, (b"connection", b"close")],
        [*REQUEST, (b"x", b"a\nb")],
        [*REQUEST, (b"", b"x")],
    ],
)
def test_headers_that_are_no_request(headers):
    """The stream ends with PROTOCOL_ERROR; the connection goes on."""
    with pytest.raises(StreamFault) as caught:
        RequestHead.of(headers)
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR

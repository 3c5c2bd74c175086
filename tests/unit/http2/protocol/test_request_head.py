"""Head of a gRPC request."""

from __future__ import annotations

import pytest

from onnxmesh.http2.protocol.error_codes import ErrorCode, GrpcStatus, StreamFault
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


def changed(**changes):
    """REQUEST with other headers; None: without."""
    wanted = {name.replace("_", "-"): value for name, value in changes.items()}
    kept = [(name, value) for name, value in REQUEST if name.decode().lstrip(":") not in wanted]
    return kept + [(name.encode(), value) for name, value in wanted.items() if value is not None]


def test_request_head_has_path_timeout_encoding_and_metadata():
    """Path, timeout and metadata; what belongs to the protocol is no metadata."""
    head = RequestHead.from_headers(
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
def test_request_head_reads_every_unit_of_a_timeout(timeout, seconds):
    """Hours, minutes, seconds and their parts."""
    assert RequestHead.from_headers(changed(grpc_timeout=timeout)).timeout_s == pytest.approx(seconds)


@pytest.mark.parametrize(
    "changes",
    [
        {"te": None},
        {"te": b"gzip"},
        {"grpc_timeout": b"20"},
        {"grpc_timeout": b"123456789S"},
        {"grpc_timeout": b"-1S"},
    ],
)
def test_request_head_refuses_what_grpc_does_not_allow(changes):
    """With a gRPC status: as HTTP/2 they are well-formed."""
    refusal = RequestHead.from_headers(changed(**changes)).refusal
    assert refusal is not None
    assert refusal[0] is GrpcStatus.INTERNAL


@pytest.mark.parametrize(
    "changes",
    [
        {"wrong_bin": b"$"},
        {"wrong_bin": b"A"},
        {"wrong_bin": b"AAE=,$"},
        {"wrong": b"\xe4"},
        {"wrong": "zw\u00f6lf".encode()},
        {"wrong": b"tab\tbed"},
        {"wro$ng": b"a"},
    ],
)
def test_request_head_passes_over_what_is_no_metadata_of_grpc(changes):
    """The value is not used, and Envoy, gRPC's own server and Triton take such requests."""
    head = RequestHead.from_headers(changed(right=b"1", **changes))
    assert head.refusal is None
    assert head.metadata == (("user-agent", "a client"), ("right", "1"))


@pytest.mark.parametrize(
    ("encodings", "accepts"),
    [
        (None, False),
        (b"identity, deflate, gzip", True),
        (b"gzip", True),
        (b"identity,gzipped", False),
        (b"", False),
    ],
)
def test_request_head_has_whether_the_client_accepts_gzip(encodings, accepts):
    """By whole names."""
    assert RequestHead.from_headers(changed(grpc_accept_encoding=encodings)).accepts_gzip is accepts


@pytest.mark.parametrize(
    ("headers", "status"),
    [(REQUEST, 200), ([(b":method", b"HEAD"), (b"accept", b"*/*")], 431), ([], 431)],
    ids=["gRPC", "HEAD", "nothing known"],
)
def test_request_head_that_is_too_long_refuses_its_call(headers, status):
    """gRPC as RESOURCE_EXHAUSTED with the limit, HTTP as 431."""
    head = RequestHead.too_long(headers, 10_000)
    assert head.is_too_long
    assert head.refusal[0] is GrpcStatus.RESOURCE_EXHAUSTED
    assert "10000 bytes" in head.refusal[1]
    assert (head.http_status, head.metadata) == (status, ())
    assert head.takes_body == ((b":method", b"HEAD") not in headers)
    assert not RequestHead.from_headers(REQUEST).is_too_long


@pytest.mark.parametrize("path", [b"no-slash", b"/a b", b"/\xff"])
def test_request_head_refuses_malformed_paths(path):
    """As UNIMPLEMENTED; they are not proxied to gRPC's server."""
    headers = [(name, path if name == b":path" else value) for name, value in REQUEST]
    assert RequestHead.from_headers(headers).refusal[0] is GrpcStatus.UNIMPLEMENTED


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
        (None, b"GET", 415),
        (b"text/html", b"HEAD", 415),
    ],
)
def test_request_head_has_an_http_status_for_clients_without_grpc(content_type, method, status):
    """415 for other content types, as a browser has, 405 for other methods than POST."""
    headers = [(b":method", method), *changed(method=None, content_type=content_type)]
    assert RequestHead.from_headers([each for each in headers if each[0] != b"method"]).http_status == status


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
def test_request_head_fails_for_malformed_headers(headers):
    """With PROTOCOL_ERROR of the stream alone."""
    with pytest.raises(StreamFault) as caught:
        RequestHead.from_headers(headers)
    assert caught.value.code is ErrorCode.PROTOCOL_ERROR

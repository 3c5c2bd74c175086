"""Answers to clients that do not speak gRPC: a status of HTTP and a sentence about what is spoken. Pure."""

from __future__ import annotations

from http import HTTPStatus

from onnxmesh.http2.protocol.limits import ConnectionLimits

_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT")
_TLS_HANDSHAKE = b"\x16\x03"


def answer_to_http1(first_bytes: bytes, spoken: str) -> bytes | None:
    """Returns the whole answer to a client whose first bytes are no preface of HTTP/2; None: the protocol is unknown.

    A handshake of TLS is answered in plain text, too: clients of TLS report a "wrong version number", their usual error for a port
    without TLS.

    Args:
        first_bytes: What it sent, by which the protocol is recognised.
        spoken: A sentence about what is spoken, and where.
    """
    if first_bytes.startswith(_TLS_HANDSHAKE):
        status, reason = HTTPStatus.BAD_REQUEST, "This port does not speak TLS."
    elif any(first_bytes.startswith(method + b" ") for method in _METHODS):
        status, reason = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1 is not spoken here."
    else:
        return None
    body = f"{reason} {spoken}\n".encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if first_bytes.startswith(b"HEAD ") else body)


def is_http1_possible(first_bytes: bytes) -> bool:
    """Whether more bytes may make this the beginning of a request of HTTP/1."""
    return any(method.startswith(first_bytes) for method in _METHODS)


def http2_sentence(status: int, spoken: str, limits: ConnectionLimits) -> bytes:
    """Returns the body of an answer to a request of HTTP/2 that is not gRPC.

    Args:
        status: Status of the answer: 405, 415 or 431.
        spoken: A sentence about what is spoken, and where.
        limits: Limits of the connection.
    """
    reasons: dict[int, str] = {
        HTTPStatus.METHOD_NOT_ALLOWED: "gRPC is called by POST alone.",
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
            f"The headers of the request have more than {limits.max_headers_bytes} bytes."
        ),
    }
    reason = reasons.get(status, "Only requests of the content type application/grpc are answered here.")
    return f"{reason} {spoken}\n".encode()

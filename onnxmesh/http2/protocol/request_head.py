"""Head of a gRPC request: method, metadata, timeout and encoding from its headers.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from onnxmesh.http2.protocol.error_codes import ErrorCode, GrpcStatus, StreamFault

Metadata = tuple[tuple[str, str | bytes], ...]

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_KEY = re.compile(r"[0-9a-z_.\-]+")
_TEXT = re.compile(rb"[\x20-\x7e]*")
_PATH = re.compile(rb"/[\x21-\x7e]*")
_PSEUDO_HEADERS = (b":method", b":path", b":scheme", b":authority")
_CONNECTION_HEADERS = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_MAX_ENCODINGS_CHARS = 200  # of a list of encodings, of which there are four
_NOT_METADATA = ("content-type", "te", "host")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Head of one request.

    Attributes:
        path: `/SERVICE/METHOD`.
        metadata: Custom metadata and `user-agent`; values of names that end in `-bin` are bytes. What gRPC does not allow as metadata is left
            out: the value is not used.
        timeout_s: Seconds of `grpc-timeout`; None: no deadline.
        encoding: Value of `grpc-encoding`.
        accepts_gzip: Whether `grpc-accept-encoding` has `gzip`.
        http_status: HTTP status of the response: 200, or an error for a request that is not gRPC.
        takes_body: Whether a response may have a body, which one to HEAD may not.
        refusal: gRPC status and message that the call ends with at once; None: it may be served.
    """

    path: str
    metadata: Metadata = ()
    timeout_s: float | None = None
    encoding: str = "identity"
    accepts_gzip: bool = False
    http_status: int = 200
    takes_body: bool = True
    refusal: tuple[GrpcStatus, str] | None = None

    @classmethod
    def from_headers(cls, headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
        """Returns the head that a request's headers make.

        Raises:
            StreamFault: They are malformed by the rules of HTTP/2.
        """
        pseudo: dict[bytes, bytes] = {}
        fields: dict[str, str] = {}
        metadata: list[tuple[str, str | bytes]] = []
        refusal: tuple[GrpcStatus, str] | None = None
        for name, value in headers:
            _check_field(name, value)
            if name.startswith(b":"):
                if name not in _PSEUDO_HEADERS or name in pseudo or fields:
                    raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"did not expect {name!r} here")
                pseudo[name] = value
                continue
            key = name.decode("ascii")
            fields[key] = value.decode("latin-1")
            if key.startswith("grpc-") or key in _NOT_METADATA:
                continue
            metadata += _metadata_entries(key, value)
        for name in (b":method", b":path", b":scheme"):
            if not pseudo.get(name):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"expected a header {name!r}")
        timeout_s, timeout = None, fields.get("grpc-timeout")
        if timeout is not None:
            matched = _TIMEOUT.fullmatch(timeout)
            if matched is None:
                refusal = (GrpcStatus.INTERNAL, f"expected a grpc-timeout like 20S, got '{timeout}'")
            else:
                timeout_s = int(matched[1]) * _UNITS_S[matched[2]]
        if fields.get("te") != "trailers":
            refusal = (
                GrpcStatus.INTERNAL,
                "expected the header 'te: trailers': a proxy may have dropped it",
            )
        if not _PATH.fullmatch(pseudo[b":path"]):
            refusal = (GrpcStatus.UNIMPLEMENTED, "expected /SERVICE/METHOD as the path")
        return cls(
            path=pseudo[b":path"].decode("latin-1"),
            metadata=tuple(metadata),
            timeout_s=timeout_s,
            encoding=fields.get("grpc-encoding", "identity"),
            accepts_gzip=_accepts_gzip(fields.get("grpc-accept-encoding", "")[:_MAX_ENCODINGS_CHARS]),
            http_status=_http_status(pseudo[b":method"], fields.get("content-type", "")),
            takes_body=pseudo[b":method"] != b"HEAD",
            refusal=refusal,
        )

    @classmethod
    def too_long(cls, headers: Iterable[tuple[bytes, bytes]], max_bytes: int) -> RequestHead:
        """Returns the head of a request whose headers are too long: as gRPC RESOURCE_EXHAUSTED, as HTTP 431.

        Args:
            headers: Some of the first ones.
            max_bytes: The limit.
        """
        fields = dict(headers)
        content_type = fields.get(b"content-type", b"").decode("latin-1")
        return cls(
            path=fields.get(b":path", b"").decode("latin-1"),
            http_status=200 if _is_grpc(content_type) else HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            takes_body=fields.get(b":method") != b"HEAD",
            refusal=(
                GrpcStatus.RESOURCE_EXHAUSTED,
                f"the headers of the request have more than {max_bytes} bytes, counting 32 for each",
            ),
        )

    @property
    def is_too_long(self) -> bool:
        """Whether the headers are over the limit."""
        return self.refusal is not None and self.refusal[0] is GrpcStatus.RESOURCE_EXHAUSTED


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or name in _CONNECTION_HEADERS or not _VALUE.fullmatch(value):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"{name!r} is no header of HTTP/2")


def _http_status(method: bytes, content_type: str) -> int:
    if not _is_grpc(content_type):
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return 200 if method == b"POST" else HTTPStatus.METHOD_NOT_ALLOWED


def _is_grpc(content_type: str) -> bool:
    grpc = "application/grpc"
    return content_type == grpc or content_type.startswith((grpc + "+", grpc + ";"))


@lru_cache
def _accepts_gzip(encodings: str) -> bool:
    return any(each.strip() == "gzip" for each in encodings.split(","))


def _metadata_entries(key: str, value: bytes) -> list[tuple[str, str | bytes]]:
    """Returns a header as metadata: none, if its name or value is not what gRPC allows."""
    if not _KEY.fullmatch(key):
        return []
    if key.endswith("-bin"):
        try:
            # A proxy may have joined several values.
            return [(key, _unbase64(each.strip())) for each in value.split(b",")]
        except binascii.Error:
            return []
    return [(key, value.decode("ascii"))] if _TEXT.fullmatch(value) else []


def _unbase64(value: bytes) -> bytes:
    value = value.rstrip(b"=")
    return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)

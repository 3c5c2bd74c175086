"""Head of a gRPC request: method, metadata, timeout and encoding from its headers.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

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
_NOT_METADATA = ("content-type", "te", "host")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Head of one request.

    Attributes:
        path: `/SERVICE/METHOD`.
        metadata: Custom metadata and `user-agent`; values of names that end in `-bin` are bytes.
        timeout_s: Seconds of `grpc-timeout`; None: no deadline.
        encoding: Value of `grpc-encoding`.
        http_status: HTTP status of the response: 200, or an error for a request that is not gRPC.
        refusal: gRPC status and message that the call ends with at once; None: it may be served.
    """

    path: str
    metadata: Metadata = ()
    timeout_s: float | None = None
    encoding: str = "identity"
    http_status: int = 200
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
            try:
                metadata += _metadata_entries(key, value)
            except ValueError as error:
                refusal = (GrpcStatus.INTERNAL, f"metadata '{key}': {error}")
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
            http_status=_http_status(pseudo[b":method"], fields.get("content-type", "")),
            refusal=refusal,
        )


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or name in _CONNECTION_HEADERS or not _VALUE.fullmatch(value):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"{name!r} is no header of HTTP/2")


def _http_status(method: bytes, content_type: str) -> int:
    if method != b"POST":
        return 405
    grpc = "application/grpc"
    return 200 if content_type == grpc or content_type.startswith((grpc + "+", grpc + ";")) else 415


def _metadata_entries(key: str, value: bytes) -> list[tuple[str, str | bytes]]:
    if not _KEY.fullmatch(key):
        raise ValueError("expected letters, digits, '.', '_' and '-' in its name")
    if key.endswith("-bin"):
        # A proxy may have joined several values.
        return [(key, _unbase64(each.strip())) for each in value.split(b",")]
    if not _TEXT.fullmatch(value):
        raise ValueError("expected printable ASCII")
    return [(key, value.decode("ascii"))]


def _unbase64(value: bytes) -> bytes:
    value = value.rstrip(b"=")
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64") from error

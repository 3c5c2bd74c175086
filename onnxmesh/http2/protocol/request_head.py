"""What a call says of itself before its first message.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass

import grpc

from onnxmesh.http2.protocol.error_codes import ErrorCode, StreamFault

Metadata = tuple[tuple[str, str | bytes], ...]

_UNITS_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_KEY = re.compile(r"[0-9a-z_.\-]+")
_TEXT = re.compile(rb"[\x20-\x7e]*")
_PATH = re.compile(rb"/[\x21-\x7e]*")
_PSEUDO = (b":method", b":path", b":scheme", b":authority")
_OF_A_CONNECTION = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_OF_THE_PROTOCOL = ("content-type", "te", "host")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The beginning of a call.

    Attributes:
        path: `/SERVICE/METHOD`.
        metadata: What the client adds, and its `user-agent`; values of names that end in `-bin` are bytes.
        timeout_s: What the client gives the call; None: as long as it takes.
        encoding: How compressed messages are compressed.
        http_status: What a client that speaks no gRPC is told, 200 for all others.
        refusal: Status code and message that the call ends with at once.
    """

    path: str
    metadata: Metadata = ()
    timeout_s: float | None = None
    encoding: str = "identity"
    http_status: int = 200
    refusal: tuple[grpc.StatusCode, str] | None = None

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> RequestHead:
        """Returns what the headers of a request say.

        Raises:
            StreamFault: They are not those of a request of HTTP/2.
        """
        pseudo: dict[bytes, bytes] = {}
        fields: dict[str, str] = {}
        metadata: list[tuple[str, str | bytes]] = []
        refusal = None
        for name, value in headers:
            _check(name, value)
            if name.startswith(b":"):
                if name not in _PSEUDO or name in pseudo or fields:
                    raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"did not expect {name!r} here")
                pseudo[name] = value
                continue
            key = name.decode("ascii")
            fields[key] = value.decode("latin-1")
            if key.startswith("grpc-") or key in _OF_THE_PROTOCOL:
                continue
            try:
                metadata += _entries(key, value)
            except ValueError as error:
                refusal = (grpc.StatusCode.INTERNAL, f"metadata '{key}': {error}")
        for name in (b":method", b":path", b":scheme"):
            if not pseudo.get(name):
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"expected a header {name!r}")
        timeout_s, timeout = None, fields.get("grpc-timeout")
        if timeout is not None:
            matched = _TIMEOUT.fullmatch(timeout)
            if matched is None:
                refusal = (grpc.StatusCode.INTERNAL, f"expected a grpc-timeout like 20S, got '{timeout}'")
            else:
                timeout_s = int(matched[1]) * _UNITS_S[matched[2]]
        if fields.get("te") != "trailers":
            refusal = (
                grpc.StatusCode.INTERNAL,
                "expected the header 'te: trailers': a proxy may have dropped it",
            )
        if not _PATH.fullmatch(pseudo[b":path"]):
            refusal = (grpc.StatusCode.UNIMPLEMENTED, "expected /SERVICE/METHOD as the path")
        return cls(
            path=pseudo[b":path"].decode("latin-1"),
            metadata=tuple(metadata),
            timeout_s=timeout_s,
            encoding=fields.get("grpc-encoding", "identity"),
            http_status=_http_status(pseudo[b":method"], fields.get("content-type", "")),
            refusal=refusal,
        )


def _check(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name) or name in _OF_A_CONNECTION or not _VALUE.fullmatch(value):
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, f"{name!r} is no header of HTTP/2")


def _http_status(method: bytes, content_type: str) -> int:
    if method != b"POST":
        return 405
    kind = "application/grpc"
    return 200 if content_type == kind or content_type.startswith((kind + "+", kind + ";")) else 415


def _entries(key: str, value: bytes) -> list[tuple[str, str | bytes]]:
    if not _KEY.fullmatch(key):
        raise ValueError("expected letters, digits, '.', '_' and '-' in its name")
    if key.endswith("-bin"):
        # Several values may have been joined on the way.
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

"""Error codes of HTTP/2 and gRPC, and the exceptions that carry them."""

from __future__ import annotations

from enum import IntEnum

from onnxmesh.error_text import bounded


class ErrorCode(IntEnum):
    """HTTP/2 error codes, as GOAWAY and RST_STREAM carry them.

    Source: https://www.rfc-editor.org/rfc/rfc9113#section-7
    """

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class GrpcStatus(IntEnum):
    """gRPC status codes that the protocol itself ends calls with, by their numbers in trailers.

    Source: https://grpc.io/docs/guides/status-codes/
    """

    OK = 0
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class NotHttp2(Exception):
    """The connection does not begin with the HTTP/2 preface, so no GOAWAY can be sent.

    Args:
        first_bytes: What was received so far.
    """

    def __init__(self, first_bytes: bytes) -> None:
        super().__init__(f"expected the preface of HTTP/2, got {first_bytes[:24]!r}")
        self.first_bytes = first_bytes


class ConnectionFault(Exception):
    """Connection error: ends the connection with GOAWAY.

    Args:
        code: Error code of the GOAWAY.
        message: What was expected, and what was received; sent as debug data.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        self.code = code
        self.message = bounded(message)
        super().__init__(self.message)


class StreamFault(ConnectionFault):
    """Stream error: ends one stream with RST_STREAM."""

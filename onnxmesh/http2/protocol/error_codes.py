"""What is wrong with what a client sent, and how it is told."""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Error codes of HTTP/2.

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


class NotHttp2(Exception):
    """The connection does not begin with the preface of HTTP/2: there is nobody to tell."""


class ConnectionFault(Exception):
    """What ends a connection: GOAWAY.

    Args:
        code: What the client is told.
        message: What was expected, and what came.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StreamFault(ConnectionFault):
    """What ends one stream: RST_STREAM."""

"""SETTINGS of the client."""

from __future__ import annotations

from enum import IntEnum

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import (
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    LARGEST_MAX_FRAME_BYTES,
    MAX_SENT_FRAME_BYTES,
    MAX_WINDOW_BYTES,
    Payload,
    read_settings,
)


class SettingId(IntEnum):
    """Identifiers of the settings that matter to a gRPC server.

    Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2
    """

    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class PeerSettings:
    """The client's settings, with the defaults of HTTP/2 until its first SETTINGS.

    Attributes:
        are_received: Whether SETTINGS were received.
        initial_window_bytes: Send window of a new stream.
        max_frame_bytes: The longest payload of a frame that is sent to the client.
    """

    __slots__ = ("are_received", "initial_window_bytes", "max_frame_bytes")

    def __init__(self) -> None:
        self.are_received = False
        self.initial_window_bytes = DEFAULT_WINDOW_BYTES
        self.max_frame_bytes = DEFAULT_MAX_FRAME_BYTES

    def update(self, payload: Payload) -> None:
        """Applies the payload of SETTINGS; unknown settings are ignored.

        Raises:
            ConnectionFault: A value is out of its range, or the payload is cut short.
        """
        self.are_received = True
        for identifier, value in read_settings(payload):
            if identifier == SettingId.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW_BYTES:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                self.initial_window_bytes = value
            elif identifier == SettingId.MAX_FRAME_SIZE:
                if not DEFAULT_MAX_FRAME_BYTES <= value <= LARGEST_MAX_FRAME_BYTES:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.max_frame_bytes = min(value, MAX_SENT_FRAME_BYTES)
            elif identifier == SettingId.ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"push is {value}")

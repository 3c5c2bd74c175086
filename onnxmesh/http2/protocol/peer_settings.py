"""What a client says of itself by SETTINGS."""

from __future__ import annotations

from enum import IntEnum

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import (
    FIRST_WINDOW_BYTES,
    LEAST_MAX_FRAME_BYTES,
    MAX_FRAME_BYTES,
    MAX_WINDOW_BYTES,
    MOST_MAX_FRAME_BYTES,
    Payload,
    read_settings,
)


class SettingId(IntEnum):
    """Settings of HTTP/2 that matter to a server of gRPC."""

    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class PeerSettings:
    """A client's settings.

    Attributes:
        are_known: Whether it has said anything.
        initial_window: Bytes that it takes of a new stream.
        max_frame_bytes: The longest frame that it is sent.
    """

    __slots__ = ("are_known", "initial_window", "max_frame_bytes")

    def __init__(self) -> None:
        self.are_known = False
        self.initial_window = FIRST_WINDOW_BYTES
        self.max_frame_bytes = LEAST_MAX_FRAME_BYTES

    def update(self, payload: Payload) -> None:
        """Takes a frame of settings; those that are unknown do not matter.

        Raises:
            ConnectionFault: One has a value that it cannot have.
        """
        self.are_known = True
        for number, value in read_settings(payload):
            if number == SettingId.INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW_BYTES:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value} bytes")
                self.initial_window = value
            elif number == SettingId.MAX_FRAME_SIZE:
                if not LEAST_MAX_FRAME_BYTES <= value <= MOST_MAX_FRAME_BYTES:
                    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"frames of {value} bytes")
                self.max_frame_bytes = min(value, MAX_FRAME_BYTES)
            elif number == SettingId.ENABLE_PUSH and value > 1:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"push is {value}")

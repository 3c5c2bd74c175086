"""Frames of HTTP/2 from bytes, and bytes from frames.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-4
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, NotHttp2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""

HEAD_BYTES = 9
"""Before the payload of each frame."""

LEAST_MAX_FRAME_BYTES = 16_384
"""Every side takes frames of this size."""

MOST_MAX_FRAME_BYTES = 2**24 - 1
MAX_WINDOW_BYTES = 2**31 - 1

FIRST_WINDOW_BYTES = 65_535
"""What may be sent before the other side says more."""

MAX_FRAME_BYTES = 256 << 10
"""Longer frames are not sent, whatever the other side takes: answers take turns."""

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITISED = 0x20

VIEW_BYTES = 2_048
"""From this size on a view of a payload is cheaper than its copy."""


class FrameType(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


Payload = bytes | memoryview
Frame = tuple[int, int, int, Payload, int]
"""Kind, flags, stream, payload without padding, and how much of the window it takes."""

DATA = int(FrameType.DATA)
HEADERS = int(FrameType.HEADERS)
CONTINUATION = int(FrameType.CONTINUATION)

_HEAD = Struct("!HBBBL")
_STREAM = 0x7FFF_FFFF
_SETTING = Struct("!HL")
_WORD = Struct("!L")


class FrameReader:
    """Takes frames out of what one client sends, wherever it is cut.

    A DATA frame that has not arrived whole comes in pieces, so that it is never put together here: all but the last are
    without END_STREAM.

    Args:
        max_frame_bytes: The longest payload that was allowed to the client.
    """

    __slots__ = (
        "_data_flags",
        "_data_left",
        "_data_stream",
        "_max_frame_bytes",
        "_need",
        "_preface",
        "_rest",
    )

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._preface = False
        self._rest = bytearray()
        self._need = len(PREFACE)
        self._data_left = 0
        self._data_flags = 0
        self._data_stream = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yields the frames that are there now; must be read to its end, unless it raises.

        Raises:
            NotHttp2: The first bytes are not those of an HTTP/2 client.
            ConnectionFault: A frame is too long, or its padding is.
        """
        data = self._joined(data)
        position, end = 0, len(data)
        if self._data_left:
            size = min(self._data_left, end)
            position = size
            self._data_left -= size
            flags = 0 if self._data_left else self._data_flags
            yield DATA, flags, self._data_stream, memoryview(data)[:size], size
        while end - position >= HEAD_BYTES:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            length = high << 8 | low
            stream &= _STREAM
            if length > self._max_frame_bytes:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR,
                    f"expected a frame of {self._max_frame_bytes} bytes at most, got {length}",
                )
            begin = position + HEAD_BYTES
            position = begin + length
            if position > end:
                if kind == DATA and not flags & PADDED:
                    self._data_left = position - end
                    self._data_flags = flags
                    self._data_stream = stream
                    if begin < end:
                        yield DATA, 0, stream, memoryview(data)[begin:], end - begin
                    return
                self._need = HEAD_BYTES + length
                self._rest += memoryview(data)[begin - HEAD_BYTES :]
                return
            payload: Payload = (
                data[begin:position] if length < VIEW_BYTES else memoryview(data)[begin:position]
            )
            if flags & PADDED and kind <= HEADERS:
                payload = _without_padding(payload)
            yield kind, flags, stream, payload, length
        if position < end:
            self._need = HEAD_BYTES
            self._rest += memoryview(data)[position:]

    def _joined(self, data: bytes) -> bytes:
        """Returns what is there with what was left over before; nothing, if that is too little to go on with."""
        if self._preface and not self._rest:
            return data
        self._rest += data
        if not self._preface and not PREFACE.startswith(self._rest[: len(PREFACE)]):
            raise NotHttp2(f"expected the preface of HTTP/2, got {bytes(self._rest[: len(PREFACE)])!r}")
        if len(self._rest) < self._need:
            return b""
        joined, self._rest = bytes(self._rest), bytearray()
        if self._preface:
            return joined
        self._preface = True
        return joined[len(PREFACE) :]


def _without_padding(payload: Payload) -> Payload:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the padding of a frame is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def frame(kind: FrameType, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns one frame."""
    return frame_head(kind, flags, stream, len(payload)) + payload


def frame_head(kind: int, flags: int, stream: int, length: int) -> bytes:
    """Returns what comes before the payload of a frame."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream)


def settings_frame(settings: dict[int, int]) -> bytes:
    """Returns the frame that tells the other side of these settings."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings.items()))


def read_settings(payload: Payload) -> list[tuple[int, int]]:
    """Returns identifiers and values, in order.

    Raises:
        ConnectionFault: The frame has another size.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return list(_SETTING.iter_unpack(payload))


def word(value: int) -> bytes:
    """Returns 32 bits, as window sizes, stream numbers and error codes are sent."""
    return _WORD.pack(value)


def read_word(payload: Payload, kind: FrameType) -> int:
    """Returns the one number that a frame holds.

    Raises:
        ConnectionFault: The frame has another size.
    """
    if len(payload) != _WORD.size:
        raise ConnectionFault(
            ErrorCode.FRAME_SIZE_ERROR, f"expected {kind.name} of 4 bytes, got {len(payload)}"
        )
    value: int = _WORD.unpack(payload)[0]
    return value

"""HTTP/2 frames: read from bytes, and written to bytes.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-4
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from struct import Struct

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, NotHttp2

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The first bytes of every client."""

FRAME_HEADER_BYTES = 9
"""Length of the header before the payload of each frame."""

DEFAULT_MAX_FRAME_BYTES = 16_384
"""The longest payload that every endpoint accepts."""

LARGEST_MAX_FRAME_BYTES = 2**24 - 1
MAX_WINDOW_BYTES = 2**31 - 1

DEFAULT_WINDOW_BYTES = 65_535
"""Flow control windows until SETTINGS or WINDOW_UPDATE change them."""

MAX_SENT_FRAME_BYTES = 256 << 10
"""Longer payloads are not sent, even to a client that accepts them: concurrent responses alternate frame by frame."""

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20

MIN_VIEW_BYTES = 2_048
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
"""Type, flags, stream identifier, payload without padding, and the bytes that it takes of flow control windows."""

# Constants of the module, for the hot path: to read a member of an enum takes ten times as long.
DATA = int(FrameType.DATA)
HEADERS = int(FrameType.HEADERS)
CONTINUATION = int(FrameType.CONTINUATION)
WINDOW_UPDATE = FrameType.WINDOW_UPDATE

_FRAME_HEADER = Struct("!HBBBL")
_STREAM_ID_BITS = 0x7FFF_FFFF
_SETTING = Struct("!HL")
_UINT32 = Struct("!L")


class FrameReader:
    """Reads frames from the bytes of one client, which may be cut anywhere.

    A DATA frame that has not arrived whole is reported in pieces, so that it is never buffered here: all pieces but the last
    are without END_STREAM.

    Args:
        max_frame_bytes: The longest payload that SETTINGS allow the client.
    """

    __slots__ = (
        "_data_flags",
        "_data_remaining",
        "_data_stream_id",
        "_has_preface",
        "_incomplete",
        "_max_frame_bytes",
        "_needed_bytes",
    )

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._has_preface = False
        self._incomplete = bytearray()
        self._needed_bytes = len(PREFACE)
        self._data_remaining = 0
        self._data_flags = 0
        self._data_stream_id = 0

    @property
    def has_preface(self) -> bool:
        """Whether the client's preface was received: until then it may be a client of another protocol."""
        return self._has_preface

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Returns the frames that are complete; must be read to their end, unless that raises.

        Raises:
            NotHttp2: The first bytes are not the preface.
            ConnectionFault: A frame is too long, or its padding is.
        """
        return self._frames(self._joined(data))

    def _frames(self, data: bytes) -> Iterator[Frame]:
        position, end = 0, len(data)
        if self._data_remaining:
            size = min(self._data_remaining, end)
            position = size
            self._data_remaining -= size
            flags = 0 if self._data_remaining else self._data_flags
            yield DATA, flags, self._data_stream_id, memoryview(data)[:size], size
        while end - position >= FRAME_HEADER_BYTES:
            high, low, kind, flags, stream_id = _FRAME_HEADER.unpack_from(data, position)
            length = high << 8 | low
            stream_id &= _STREAM_ID_BITS
            if length > self._max_frame_bytes:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR,
                    f"expected a frame of {self._max_frame_bytes} bytes at most, got {length}",
                )
            begin = position + FRAME_HEADER_BYTES
            position = begin + length
            if position > end:
                if kind == DATA and not flags & PADDED:
                    self._data_remaining = position - end
                    self._data_flags = flags
                    self._data_stream_id = stream_id
                    if begin < end:
                        yield DATA, 0, stream_id, memoryview(data)[begin:], end - begin
                    return
                self._needed_bytes = FRAME_HEADER_BYTES + length
                self._incomplete += memoryview(data)[begin - FRAME_HEADER_BYTES :]
                return
            payload: Payload = (
                data[begin:position] if length < MIN_VIEW_BYTES else memoryview(data)[begin:position]
            )
            if flags & PADDED and kind <= HEADERS:
                payload = _without_padding(payload)
            yield kind, flags, stream_id, payload, length
        if position < end:
            self._needed_bytes = FRAME_HEADER_BYTES
            self._incomplete += memoryview(data)[position:]

    def _joined(self, data: bytes) -> bytes:
        """Returns the incomplete frame of before together with `data`; nothing while that is too little to read on."""
        if self._has_preface and not self._incomplete:
            return data
        self._incomplete += data
        if not self._has_preface and not PREFACE.startswith(self._incomplete[: len(PREFACE)]):
            raise NotHttp2(bytes(self._incomplete))
        if len(self._incomplete) < self._needed_bytes:
            return b""
        joined, self._incomplete = bytes(self._incomplete), bytearray()
        if self._has_preface:
            return joined
        self._has_preface = True
        return joined[len(PREFACE) :]


def _without_padding(payload: Payload) -> Payload:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the padding of a frame is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


def frame(kind: FrameType, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Returns one frame."""
    return frame_header(kind, flags, stream_id, len(payload)) + payload


def frame_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Returns the header of a frame whose payload has `length` bytes."""
    return _FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(settings: dict[int, int]) -> bytes:
    """Returns SETTINGS with values by identifier."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings.items()))


def read_settings(payload: Payload) -> list[tuple[int, int]]:
    """Returns identifiers and values of SETTINGS, in order.

    Raises:
        ConnectionFault: The payload is cut short.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
    return list(_SETTING.iter_unpack(payload))


def uint32(value: int) -> bytes:
    """Returns 32 bits: how increments, stream identifiers and error codes are sent."""
    return _UINT32.pack(value)


def read_uint32(payload: Payload, kind: FrameType) -> int:
    """Returns the one number that is the payload of RST_STREAM or WINDOW_UPDATE.

    Raises:
        ConnectionFault: The payload has another size.
    """
    if len(payload) != _UINT32.size:
        raise ConnectionFault(
            ErrorCode.FRAME_SIZE_ERROR, f"expected {kind.name} of 4 bytes, got {len(payload)}"
        )
    value: int = _UINT32.unpack(payload)[0]
    return value

"""Frames and their wire form.

An Envelope is an ordinary protobuf message (protos/onnxmesh/v1/frame.proto), so that any language can speak it. Here it is
taken apart and put together by hand at its two outermost levels: payloads then are views of the received
bytes, and are copied once, into the bytes that gRPC sends.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.varint import read_varint, varint
from onnxmesh.tensors.tensor import Buffer
from onnxmesh.v1.frame_pb2 import FrameHeader

ALIGNMENT = 16
"""Payloads of at least this size begin at a multiple of it from the start of the Envelope.

Received messages begin at such an address, and ONNX Runtime's kernels want tensors there.
"""

_LENGTH_DELIMITED = 2
_LENGTH_BYTES = 5
_FRAMES = b"\x0a"  # Envelope.frames = 1
_HEADER = b"\x0a"  # Frame.header = 1
_PADDING = b"\x12"  # Frame.padding = 2, as often as there is something to align
_PAYLOADS = b"\x1a"  # Frame.payloads = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One thing said on a stream.

    Attributes:
        header: What is said.
        payloads: Tensor contents that belong to it, in the order of the header's tensors.
    """

    header: FrameHeader
    payloads: tuple[Buffer, ...] = ()

    @property
    def payload_bytes(self) -> int:
        """Bytes of all payloads."""
        return sum(len(payload) for payload in self.payloads)


def encode(frames: Iterable[Frame]) -> bytes:
    """Returns the Envelope that holds `frames`; no frames give an empty one, a heartbeat."""
    parts: list[Buffer] = []
    position = 0
    for frame in frames:
        header = frame.header.SerializeToString()
        body: list[Buffer] = [_HEADER, varint(len(header)), header]
        begin = position + 1 + _LENGTH_BYTES
        end = begin + 1 + len(body[1]) + len(header)
        for payload in frame.payloads:
            tag = _PAYLOADS + varint(len(payload))
            if len(payload) >= ALIGNMENT:
                fill = -(end + 2 + len(tag)) % ALIGNMENT
                body.append(_PADDING + bytes((fill,)) + bytes(fill))
                end += 2 + fill
            body += (tag, payload)
            end += len(tag) + len(payload)
        parts += (_FRAMES, _long_varint(end - begin), *body)
        position = end
    return b"".join(parts)


def decode(envelope: bytes) -> list[Frame]:
    """Returns the frames of an Envelope; their payloads are views of it.

    Raises:
        CorruptData: Not an Envelope (DATA_LOSS).
    """
    view = memoryview(envelope)
    try:
        return [_frame(part) for field, part in _fields(view) if field == 1]
    except DecodeError as error:
        raise CorruptData(
            f"expected an Envelope, got {len(envelope)} bytes that are none: {error}"
        ) from error


def _frame(view: memoryview) -> Frame:
    header: memoryview | bytes = b""
    payloads: list[memoryview] = []
    for field, part in _fields(view):
        if field == 1:
            header = part
        elif field == 3:
            payloads.append(part)
    return Frame(FrameHeader.FromString(bytes(header)), tuple(payloads))


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields number and content of each field; every field at these levels is length-delimited."""
    position, end = 0, len(view)
    while position < end:
        tag, position = read_varint(view, position)
        if tag & 7 != _LENGTH_DELIMITED:
            raise DecodeError(f"wire type {tag & 7} at byte {position}")
        length, position = read_varint(view, position)
        if position + length > end:
            raise DecodeError(f"{length} bytes announced at byte {position}, {end - position} are there")
        yield tag >> 3, view[position : position + length]
        position += length


def _long_varint(value: int) -> bytes:
    """Returns a varint of always `_LENGTH_BYTES`, so that what follows has a known place; any reader takes it."""
    return bytes(value >> shift & 0x7F | (0x80 if shift < 28 else 0) for shift in (0, 7, 14, 21, 28))

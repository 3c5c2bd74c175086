"""Frames and their wire form, the Envelope.

An Envelope is an ordinary protobuf message (protos/onnxmesh/v1/frame.proto), readable in any language. Here its two
outermost levels are parsed and serialized by hand: payloads are then views of the received bytes, and are copied once,
into the bytes that are sent.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from onnxmesh.errors import CorruptData
from onnxmesh.memory.layout.shared_payload import PAYLOAD_ALIGNMENT, SharedPayload
from onnxmesh.rpc.frames.varint import read_varint, varint
from onnxmesh.tensors.tensor import Buffer
from onnxmesh.v1 import frame_pb2
from onnxmesh.v1.frame_pb2 import FrameHeader

_LENGTH_DELIMITED = 2
_LENGTH_BYTES = 5
_FRAMES = b"\x0a"  # Envelope.frames = 1
_HEADER = b"\x0a"  # Frame.header = 1
_PADDING = b"\x12"  # Frame.padding = 2, as often as there is something to align
_PAYLOADS = b"\x1a"  # Frame.payloads = 3
_SHARED = b"\x22"  # Frame.shared = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the protocol between processes: a header and the payloads of its tensors.

    Attributes:
        header: What kind of frame it is, and its fields.
        payloads: Tensor payloads, in the order of the header's tensors.
        shared: Only in frames to be sent: payloads in shared memory, each with its index among all payloads;
            `payloads` has the others.
    """

    header: FrameHeader
    payloads: tuple[Buffer, ...] = ()
    shared: tuple[tuple[int, SharedPayload], ...] = ()

    @property
    def payload_bytes(self) -> int:
        """Bytes of the payloads that are sent, without those in shared memory."""
        return sum(map(len, self.payloads))


Resolve = Callable[[SharedPayload], memoryview]
"""Returns the bytes of a payload in the peer's memory."""


def encode_envelope(frames: Iterable[Frame]) -> bytes:
    """Returns the serialized Envelope of `frames`; without frames it is empty: a heartbeat."""
    parts: list[Buffer] = []
    position = 0
    for frame in frames:
        header = frame.header.SerializeToString()
        body: list[Buffer] = [_HEADER, varint(len(header)), header]
        begin = position + 1 + _LENGTH_BYTES
        end = begin + 1 + len(body[1]) + len(header)
        for index, block in frame.shared:
            message = frame_pb2.SharedPayload(index=index, offset=block.offset, byte_size=block.byte_size)
            encoded = message.SerializeToString()
            body.append(_SHARED + varint(len(encoded)) + encoded)
            end += len(body[-1])
        for payload in frame.payloads:
            tag = _PAYLOADS + varint(len(payload))
            if len(payload) >= PAYLOAD_ALIGNMENT:
                fill = -(end + 2 + len(tag)) % PAYLOAD_ALIGNMENT
                body.append(_PADDING + bytes((fill,)) + bytes(fill))
                end += 2 + fill
            body += (tag, payload)
            end += len(tag) + len(payload)
        parts += (_FRAMES, _long_varint(end - begin), *body)
        position = end
    return b"".join(parts)


def decode_envelope(envelope: bytes, resolve: Resolve | None = None) -> list[Frame]:
    """Returns the frames of a serialized Envelope; their payloads are views of it or of shared memory.

    Args:
        envelope: The serialized message.
        resolve: Returns payloads in the peer's memory; None: no memory is shared.

    Raises:
        CorruptData: Not an Envelope, or a payload is not at its announced place (DATA_LOSS).
    """
    view = memoryview(envelope)
    try:
        return [_frame(part, resolve) for field, part in _fields(view) if field == 1]
    except DecodeError as error:
        raise CorruptData(
            f"expected an Envelope, got {len(envelope)} bytes that are none: {error}"
        ) from error


def _frame(view: memoryview, resolve: Resolve | None) -> Frame:
    header: memoryview | bytes = b""
    payloads: list[memoryview] = []
    shared: list[frame_pb2.SharedPayload] = []
    for field, part in _fields(view):
        if field == 1:
            header = part
        elif field == 3:
            payloads.append(part)
        elif field == 4:
            shared.append(frame_pb2.SharedPayload.FromString(bytes(part)))
    for each in shared:
        if resolve is None or each.index > len(payloads):
            raise CorruptData("a payload is announced in memory that is not shared")
        payloads.insert(each.index, resolve(SharedPayload(each.offset, each.byte_size)))
    return Frame(FrameHeader.FromString(bytes(header)), tuple(payloads))


def _fields(view: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields number and content of each field; all fields at these levels are length-delimited."""
    position, end = 0, len(view)
    while position < end:
        tag, position = read_varint(view, position)
        if tag & 7 != _LENGTH_DELIMITED:
            raise DecodeError(f"wire type {tag & 7} at byte {position}")
        length, position = read_varint(view, position)
        if position + length > end:
            raise DecodeError(f"{length} bytes announced at byte {position}, {end - position} remain")
        yield tag >> 3, view[position : position + length]
        position += length


def _long_varint(value: int) -> bytes:
    """Returns a varint padded to `_LENGTH_BYTES`, so that the position behind it is known in advance; valid protobuf."""
    return bytes(value >> shift & 0x7F | (0x80 if shift < 28 else 0) for shift in (0, 7, 14, 21, 28))

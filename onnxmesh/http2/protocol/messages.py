"""gRPC messages, assembled from the payloads of DATA frames.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

from struct import Struct

from onnxmesh.errors import Internal
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage, message_too_large
from onnxmesh.http2.protocol.frames import Payload
from onnxmesh.tensors.allocation import allocate_aligned
from onnxmesh.tensors.tensor import Buffer

PREALLOCATED_MESSAGE_BYTES = 512 << 10
"""From this size on each piece of a message is copied to its place as it arrives, while it is in the processor's cache: at the end
all pieces would have to be fetched from memory again, and be there twice."""

PREFIX_BYTES = 5
"""Length of the prefix of each message: the compressed flag, and the message's length."""

_PREFIX = Struct("!BL")
_SMALL_PIECE_BYTES = 512  # an object for each smaller piece would take more memory than the piece


def message_prefix(length: int, *, is_compressed: bool = False) -> bytes:
    """Returns the prefix of a message."""
    return _PREFIX.pack(is_compressed, length)


class MessageReader:
    """Assembles the messages of one call; each byte is copied once. Large messages are read-only views instead of `bytes`.

    Args:
        encoding: The `grpc-encoding` of the call.
        max_message_bytes: The longest message, compressed and not.
    """

    __slots__ = (
        "_buffer",
        "_encoding",
        "_is_compressed",
        "_max_message_bytes",
        "_pieces",
        "_prefix",
        "_remaining",
    )

    def __init__(self, encoding: str, max_message_bytes: int) -> None:
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes
        self._prefix = b""
        self._pieces: list[Payload | bytearray] = []
        self._buffer: memoryview | None = None
        self._remaining = -1
        self._is_compressed = False

    @property
    def is_at_boundary(self) -> bool:
        """Whether the last byte was the end of a message, or there was none."""
        return self._remaining < 0 and not self._prefix

    def feed(self, piece: Payload) -> list[Buffer | CompressedMessage]:
        """Returns the messages that end in this piece; compressed ones stay compressed, unless they are small.

        Raises:
            TooLarge: A message is longer than `max_message_bytes` (RESOURCE_EXHAUSTED).
            Internal: A message is compressed without a `grpc-encoding`, or cannot be decompressed (INTERNAL).
        """
        messages: list[Buffer | CompressedMessage] = []
        while True:
            if self._remaining < 0:
                missing = PREFIX_BYTES - len(self._prefix)
                self._prefix += bytes(piece[:missing])
                if len(self._prefix) < PREFIX_BYTES:
                    return messages
                piece = piece[missing:]
                self._begin_message()
            size = self._remaining
            if len(piece) < size:
                self._keep(piece)
                return messages
            messages.append(self._end_message(piece[:size]))
            piece = piece[size:]

    def _begin_message(self) -> None:
        flag, length = _PREFIX.unpack(self._prefix)
        if length > self._max_message_bytes:
            raise message_too_large(str(length), self._max_message_bytes)
        if flag > 1:
            raise Internal(f"expected 0 or 1 as the flag of a message, got {flag}")
        if flag and self._encoding == "identity":
            raise Internal("a message is compressed, but no grpc-encoding was announced")
        self._is_compressed = bool(flag)
        self._buffer = _preallocated(length) if length >= PREALLOCATED_MESSAGE_BYTES else None
        self._remaining = length
        self._prefix = b""

    def _keep(self, piece: Payload) -> None:
        if self._buffer is not None:
            begin = len(self._buffer) - self._remaining
            self._buffer[begin : begin + len(piece)] = piece
        elif len(piece) >= _SMALL_PIECE_BYTES:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))
        self._remaining -= len(piece)

    def _end_message(self, piece: Payload) -> Buffer | CompressedMessage:
        message: Buffer
        if self._buffer is not None:
            self._keep(piece)
            message, self._buffer = self._buffer.toreadonly(), None
        elif self._pieces:
            message = b"".join((*self._pieces, piece))
            self._pieces = []
        else:
            message = bytes(piece)
        self._remaining = -1
        if not self._is_compressed:
            return message
        compressed = CompressedMessage(message, self._encoding, self._max_message_bytes)
        small = compressed.decompress_small()
        return compressed if small is None else small


def _preallocated(byte_size: int) -> memoryview | None:
    """Returns a buffer for a message; None where memory is short: the client may have announced what it never sends."""
    try:
        return allocate_aligned(byte_size)
    except MemoryError:
        return None

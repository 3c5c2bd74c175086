"""Messages of gRPC from the pieces that DATA frames bring.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from onnxmesh.errors import Internal
from onnxmesh.http2.protocol.compressed_messages import Compressed, too_large
from onnxmesh.http2.protocol.frames import Payload
from onnxmesh.tensors.allocation import allocate_aligned
from onnxmesh.tensors.tensor import Buffer

LARGE_BYTES = 512 << 10
"""From this size on a message is put together as it arrives, while each piece is at hand: at the end all of them would have to be
fetched again, and be there twice."""

PREFIX_BYTES = 5
"""Before each message: whether it is compressed, and its length."""

_PREFIX = Struct("!BL")
_SMALL_BYTES = 512  # an object for each smaller piece would take more memory than the piece


def message_prefix(length: int) -> bytes:
    """Returns what comes before a message that is not compressed."""
    return _PREFIX.pack(0, length)


class MessageReader:
    """Puts the messages of one call together; each is copied once. Large ones are no `bytes`, but read-only views.

    Args:
        encoding: How compressed messages are compressed.
        max_message_bytes: How long one may be, compressed and not.
    """

    __slots__ = ("_compressed", "_encoding", "_left", "_max_message_bytes", "_pieces", "_prefix", "_room")

    def __init__(self, encoding: str, max_message_bytes: int) -> None:
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes
        self._prefix = b""
        self._pieces: list[Payload | bytearray] = []
        self._room: memoryview | None = None
        self._left = -1
        self._compressed = False

    @property
    def is_between(self) -> bool:
        """Whether no message has begun and not ended."""
        return self._left < 0 and not self._prefix

    def feed(self, piece: Payload) -> Iterator[Buffer | Compressed]:
        """Yields the messages that end in this piece; must be read to its end, unless it raises.

        Compressed ones come as they are, unless they are small.

        Raises:
            TooLarge: A message is longer than it may be (RESOURCE_EXHAUSTED).
            Internal: A message is compressed in a way that was not announced, or cannot be uncompressed (INTERNAL).
        """
        while True:
            if self._left < 0:
                missing = PREFIX_BYTES - len(self._prefix)
                self._prefix += bytes(piece[:missing])
                if len(self._prefix) < PREFIX_BYTES:
                    return
                piece = piece[missing:]
                self._begin()
            if len(piece) < self._left:
                self._keep(piece)
                return
            size = self._left
            message = self._end(piece[:size])
            piece = piece[size:]
            yield message

    def _begin(self) -> None:
        flag, length = _PREFIX.unpack(self._prefix)
        if length > self._max_message_bytes:
            raise too_large(str(length), self._max_message_bytes)
        if flag > 1:
            raise Internal(f"expected 0 or 1 as the flag of a message, got {flag}")
        if flag and self._encoding == "identity":
            raise Internal("a message is compressed, but no grpc-encoding was announced")
        self._compressed = bool(flag)
        self._room = _room(length) if length >= LARGE_BYTES else None
        self._left = length
        self._prefix = b""

    def _keep(self, piece: Payload) -> None:
        if self._room is not None:
            begin = len(self._room) - self._left
            self._room[begin : begin + len(piece)] = piece
        elif len(piece) >= _SMALL_BYTES:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))
        self._left -= len(piece)

    def _end(self, piece: Payload) -> Buffer | Compressed:
        message: Buffer
        if self._room is not None:
            self._keep(piece)
            message, self._room = self._room.toreadonly(), None
        elif self._pieces:
            message = b"".join((*self._pieces, piece))
            self._pieces = []
        else:
            message = bytes(piece)
        self._left = -1
        if not self._compressed:
            return message
        compressed = Compressed(message, self._encoding, self._max_message_bytes)
        plain = compressed.quick()
        return compressed if plain is None else plain


def _room(byte_size: int) -> memoryview | None:
    """Returns a place for a message; None where there is none: it may have been announced by somebody who never sends it."""
    try:
        return allocate_aligned(byte_size)
    except MemoryError:
        return None

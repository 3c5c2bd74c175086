"""Messages of gRPC from the pieces that DATA frames bring.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from struct import Struct

from onnxmesh.errors import Internal, MeshError, TooLarge
from onnxmesh.rpc.edge.framing import Payload

PREFIX_BYTES = 5
"""Before each message: whether it is compressed, and its length."""

ENCODINGS = "identity, deflate, gzip"
"""How messages of clients may be compressed."""

_PREFIX = Struct("!BL")
_SMALL_BYTES = 512  # an object for each smaller piece would take more memory than the piece
_ANY_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


def message_prefix(length: int) -> bytes:
    """Returns what comes before a message that is not compressed."""
    return _PREFIX.pack(0, length)


class MessageReader:
    """Puts the messages of one call together; each is copied once.

    Args:
        encoding: How compressed messages are compressed.
        max_message_bytes: How long one may be, compressed and not.
    """

    __slots__ = ("_compressed", "_encoding", "_left", "_max_message_bytes", "_pieces", "_prefix")

    def __init__(self, encoding: str, max_message_bytes: int) -> None:
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes
        self._prefix = b""
        self._pieces: list[Payload | bytearray] = []
        self._left = -1
        self._compressed = False

    @property
    def is_between(self) -> bool:
        """Whether no message has begun and not ended."""
        return self._left < 0 and not self._prefix

    def feed(self, piece: Payload) -> Iterator[bytes]:
        """Yields the messages that end in this piece; must be read to its end, unless it raises.

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
            self._pieces.append(piece[:size])
            piece = piece[size:]
            message = self._end()
            yield message

    def _begin(self) -> None:
        flag, length = _PREFIX.unpack(self._prefix)
        if length > self._max_message_bytes:
            raise self._too_large(str(length))
        if flag > 1:
            raise Internal(f"expected 0 or 1 as the flag of a message, got {flag}")
        if flag and self._encoding == "identity":
            raise Internal("a message is compressed, but no grpc-encoding was announced")
        self._compressed = bool(flag)
        self._left = length
        self._prefix = b""

    def _keep(self, piece: Payload) -> None:
        self._left -= len(piece)
        if len(piece) >= _SMALL_BYTES:
            self._pieces.append(piece)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += piece
        else:
            self._pieces.append(bytearray(piece))

    def _end(self) -> bytes:
        message = bytes(self._pieces[0]) if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces = []
        self._left = -1
        return self._uncompressed(message) if self._compressed else message

    def _uncompressed(self, message: bytes) -> bytes:
        stream = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        try:
            plain = stream.decompress(message, self._max_message_bytes + 1)
        except zlib.error as error:
            raise Internal(f"a message is not what its encoding {self._encoding} says: {error}") from error
        if len(plain) > self._max_message_bytes:
            raise self._too_large("more, uncompressed,")
        if not stream.eof:
            raise Internal(f"a message of the encoding {self._encoding} is cut short")
        return plain

    def _too_large(self, size: str) -> MeshError:
        return TooLarge(f"SERVER: Received message larger than max ({size} vs. {self._max_message_bytes})")

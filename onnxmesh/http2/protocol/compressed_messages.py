"""Messages that came compressed."""

from __future__ import annotations

import zlib
from io import BytesIO

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.tensors.tensor import Buffer

ENCODINGS = "identity, deflate, gzip"
"""How messages of clients may be compressed."""

QUICK_BYTES = 16 << 10
"""To uncompress so much takes less than to answer a request."""

_ANY_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_READ_BYTES = 64 << 10
_PIECE_BYTES = 1 << 20


class Compressed:
    """One message as it came. A few of its bytes may be a thousand times as many.

    Args:
        data: The message.
        encoding: How it is compressed.
        max_message_bytes: How long it may be, uncompressed.
    """

    __slots__ = ("_data", "_encoding", "_max_message_bytes")

    def __init__(self, data: Buffer, encoding: str, max_message_bytes: int) -> None:
        self._data = data
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes

    def quick(self) -> bytes | None:
        """Returns the message; None: it is too large to be uncompressed while others wait.

        Raises:
            MeshError: See `plain`.
        """
        if len(self._data) > QUICK_BYTES:
            return None
        stream = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        try:
            begin = stream.decompress(self._data, QUICK_BYTES)
        except zlib.error:
            return self.plain()  # it is not what it should be within the first bytes
        if not stream.eof:
            return None
        if len(begin) > self._max_message_bytes:
            raise too_large("more, uncompressed,", self._max_message_bytes)
        return begin

    def plain(self) -> bytes:
        """Returns the message; for any thread, and others run meanwhile.

        Raises:
            TooLarge: It is longer than it may be (RESOURCE_EXHAUSTED).
            Internal: It cannot be uncompressed (INTERNAL).
        """
        stream = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        plain = BytesIO()  # grows where it is; many pieces would stay with the C library when they are joined
        try:
            for begin in range(0, len(self._data), _READ_BYTES):
                rest = self._data[begin : begin + _READ_BYTES]
                while rest and not stream.eof:
                    self._add(plain, stream.decompress(rest, _PIECE_BYTES))
                    rest = stream.unconsumed_tail
            while not stream.eof and (piece := stream.decompress(b"", _PIECE_BYTES)):
                self._add(plain, piece)
        except zlib.error as error:
            raise Internal(f"a message is not what its encoding {self._encoding} says: {error}") from error
        if not stream.eof:
            raise Internal(f"a message of the encoding {self._encoding} is cut short")
        return plain.getvalue()

    def _add(self, plain: BytesIO, piece: bytes) -> None:
        if plain.tell() + len(piece) > self._max_message_bytes:
            raise too_large("more, uncompressed,", self._max_message_bytes)
        plain.write(piece)


def too_large(size: str, max_message_bytes: int) -> TooLarge:
    """Returns what gRPC says of a message that is longer than it may be."""
    return TooLarge(f"SERVER: Received message larger than max ({size} vs. {max_message_bytes})")

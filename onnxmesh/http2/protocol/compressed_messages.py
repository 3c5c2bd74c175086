"""Compressed gRPC messages, and how they are decompressed within a limit; compression of responses."""

from __future__ import annotations

import zlib
from io import BytesIO

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.tensors.tensor import Buffer

ENCODINGS = "identity, deflate, gzip"
"""The values of `grpc-encoding` that are supported."""

SMALL_COMPRESSED_BYTES = 16 << 10
"""Up to this size, compressed and not, to decompress a message takes less time than to answer a request."""

_ANY_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32
_GZIP = zlib.MAX_WBITS | 16
_READ_BYTES = 64 << 10
_PIECE_BYTES = 1 << 20


class CompressedMessage:
    """One compressed message as it was received; decompressed it may be a thousand times as long.

    Args:
        data: The compressed bytes.
        encoding: The `grpc-encoding` of the call.
        max_message_bytes: The longest decompressed message.
    """

    __slots__ = ("_data", "_encoding", "_max_message_bytes")

    def __init__(self, data: Buffer, encoding: str, max_message_bytes: int) -> None:
        self._data = data
        self._encoding = encoding
        self._max_message_bytes = max_message_bytes

    def decompress_small(self) -> bytes | None:
        """Returns the message if that takes little time; None: it is too large to be decompressed on an event loop.

        Raises:
            MeshError: See `decompress`.
        """
        if len(self._data) > SMALL_COMPRESSED_BYTES:
            return None
        stream = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        try:
            message = stream.decompress(self._data, SMALL_COMPRESSED_BYTES)
        except zlib.error:
            return self.decompress()  # which raises with the reason
        if not stream.eof:
            return None
        if len(message) > self._max_message_bytes:
            raise message_too_large("more, uncompressed,", self._max_message_bytes)
        return message

    def decompress(self) -> bytes:
        """Returns the message; for any thread, and releases the interpreter's lock.

        Raises:
            TooLarge: It is longer than `max_message_bytes` (RESOURCE_EXHAUSTED).
            Internal: It is not of its encoding, or cut short (INTERNAL).
        """
        stream = zlib.decompressobj(_ANY_ZLIB_OR_GZIP)
        message = BytesIO()  # grows in place; many pieces would stay with the C library when they are joined
        try:
            for begin in range(0, len(self._data), _READ_BYTES):
                rest = self._data[begin : begin + _READ_BYTES]
                while rest and not stream.eof:
                    self._add(message, stream.decompress(rest, _PIECE_BYTES))
                    rest = stream.unconsumed_tail
            while not stream.eof and (piece := stream.decompress(b"", _PIECE_BYTES)):
                self._add(message, piece)
        except zlib.error as error:
            raise Internal(f"a message is not what its encoding {self._encoding} says: {error}") from error
        if not stream.eof:
            raise Internal(f"a message of the encoding {self._encoding} is cut short")
        return message.getvalue()

    def _add(self, message: BytesIO, piece: bytes) -> None:
        if message.tell() + len(piece) > self._max_message_bytes:
            raise message_too_large("more, uncompressed,", self._max_message_bytes)
        message.write(piece)


def gzip_message(message: bytes) -> bytes | None:
    """Returns a message compressed by gzip, at its fastest level; None: that saves less than a tenth. For any thread."""
    stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    pieces: list[bytes] = []
    size, limit = 0, len(message) - len(message) // 10
    view = memoryview(message)
    for begin in range(0, len(view), _PIECE_BYTES):
        pieces.append(stream.compress(view[begin : begin + _PIECE_BYTES]))
        size += len(pieces[-1])
        # The first mebibyte shows whether the rest is worth its time.
        if size > 0.9 * (begin + _PIECE_BYTES) or size > limit:
            return None
    pieces.append(stream.flush())
    return b"".join(pieces) if size + len(pieces[-1]) <= limit else None


def message_too_large(size: str, max_message_bytes: int) -> TooLarge:
    """Returns the error that gRPC's own server has for a message over the limit."""
    return TooLarge(f"SERVER: Received message larger than max ({size} vs. {max_message_bytes})")

"""Header blocks out of the frames that they come in. Pure.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.2
"""

from __future__ import annotations

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import CONTINUATION, END_HEADERS, END_STREAM, PRIORITISED, Payload

MAX_CONTINUATIONS = 64
"""Frames that the headers of one call may come in."""

PRIORITY_BYTES = 5
"""What HEADERS may begin with, and PRIORITY is: whom a stream depends on."""


class HeaderFrames:
    """The header blocks of one client, whole or in pieces.

    Attributes:
        unfinished: The one that more of must follow; None: anything may.

    Args:
        max_bytes: How long a block may be.
    """

    __slots__ = ("_max_bytes", "unfinished")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.unfinished: HeaderPieces | None = None

    def begin(self, flags: int, stream: int, payload: Payload) -> HeaderPieces | None:
        """Takes HEADERS; returns the block if that is all of it.

        Raises:
            ConnectionFault: It is none that a client may send, or too long.
        """
        if flags & PRIORITISED:
            if len(payload) < PRIORITY_BYTES:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce"
                )
            payload = payload[PRIORITY_BYTES:]
        if not stream & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a client cannot open the stream {stream}")
        pieces = HeaderPieces(flags, stream, bytes(payload))
        if len(payload) > self._max_bytes:
            raise pieces.too_long()
        if flags & END_HEADERS:
            return pieces
        self.unfinished = pieces
        return None

    def go_on(self, kind: int, flags: int, stream: int, payload: Payload) -> HeaderPieces | None:
        """Takes the frame after a piece; returns the block if that was the last one.

        Raises:
            ConnectionFault: It is another frame, or the block becomes too long.
        """
        pieces = self.unfinished
        assert pieces is not None
        if kind != CONTINUATION or stream != pieces.stream:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR,
                f"expected CONTINUATION of the stream {pieces.stream}, got kind {kind} of {stream}",
            )
        pieces.block += payload
        pieces.num_continuations += 1
        if len(pieces.block) > self._max_bytes or pieces.num_continuations > MAX_CONTINUATIONS:
            raise pieces.too_long()
        if not flags & END_HEADERS:
            return None
        self.unfinished = None
        return pieces


class HeaderPieces:
    """A header block, as far as it has come.

    Attributes:
        stream: Whose it is.
        is_last: Whether the stream has nothing after it.
        block: Its bytes.
        num_continuations: Frames of it after the first.
    """

    __slots__ = ("block", "is_last", "num_continuations", "stream")

    def __init__(self, flags: int, stream: int, block: bytes) -> None:
        self.stream = stream
        self.is_last = bool(flags & END_STREAM)
        self.block = block
        self.num_continuations = 0

    def too_long(self) -> ConnectionFault:
        """Returns what the client is told that sent too much of it."""
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"headers of {len(self.block)} bytes and more")

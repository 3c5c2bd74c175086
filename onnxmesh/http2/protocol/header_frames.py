"""Header blocks, assembled from HEADERS and CONTINUATION frames.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.2
"""

from __future__ import annotations

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import CONTINUATION, END_HEADERS, END_STREAM, PRIORITY_FLAG, Payload

MAX_CONTINUATIONS = 64
"""The most CONTINUATION frames of one header block."""

PRIORITY_BYTES = 5
"""Length of the priority fields: all of PRIORITY, and the beginning of HEADERS with the priority flag."""


class HeaderFrames:
    """Assembler of the header blocks of one client.

    Attributes:
        incomplete: The block that CONTINUATION must follow; None: any frame may follow.

    Args:
        max_bytes: The longest header block.
    """

    __slots__ = ("_max_bytes", "incomplete")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.incomplete: HeaderBlock | None = None

    def receive_headers(self, flags: int, stream_id: int, payload: Payload) -> HeaderBlock | None:
        """Handles HEADERS; returns the block if it is complete.

        Raises:
            ConnectionFault: The stream is not one of a client, or the block is too long or cut short.
        """
        if flags & PRIORITY_FLAG:
            if len(payload) < PRIORITY_BYTES:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, "HEADERS without the priority that they announce"
                )
            payload = payload[PRIORITY_BYTES:]
        if not stream_id & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"a client cannot open the stream {stream_id}")
        block = HeaderBlock(flags, stream_id, bytes(payload))
        if len(payload) > self._max_bytes:
            raise block.too_long()
        if flags & END_HEADERS:
            return block
        self.incomplete = block
        return None

    def receive_continuation(
        self, kind: int, flags: int, stream_id: int, payload: Payload
    ) -> HeaderBlock | None:
        """Handles the frame after an incomplete block; returns the block if that completes it.

        Raises:
            ConnectionFault: It is not CONTINUATION of the same stream, or the block becomes too long.
        """
        block = self.incomplete
        assert block is not None
        if kind != CONTINUATION or stream_id != block.stream_id:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR,
                f"expected CONTINUATION of the stream {block.stream_id}, got kind {kind} of {stream_id}",
            )
        block.data += payload
        block.num_continuations += 1
        if len(block.data) > self._max_bytes or block.num_continuations > MAX_CONTINUATIONS:
            raise block.too_long()
        if not flags & END_HEADERS:
            return None
        self.incomplete = None
        return block


class HeaderBlock:
    """One header block, as far as it was received.

    Attributes:
        stream_id: Identifier of its stream.
        end_stream: Whether HEADERS had END_STREAM.
        data: The compressed bytes.
        num_continuations: CONTINUATION frames so far.
    """

    __slots__ = ("data", "end_stream", "num_continuations", "stream_id")

    def __init__(self, flags: int, stream_id: int, data: bytes) -> None:
        self.stream_id = stream_id
        self.end_stream = bool(flags & END_STREAM)
        self.data = data
        self.num_continuations = 0

    def too_long(self) -> ConnectionFault:
        """Returns the error of a block over the limit."""
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"headers of {len(self.data)} bytes and more")

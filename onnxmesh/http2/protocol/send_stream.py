"""Sending half of one stream: its state, its flow control window, and what waits for it."""

from __future__ import annotations

from collections import deque

from onnxmesh.http2.protocol.messages import PREFIX_BYTES, message_prefix
from onnxmesh.http2.protocol.stream_state import StreamState


class SendStream:
    """Sending half of one stream.

    Attributes:
        stream_id: Its identifier.
        state: Its state by RFC 9113; only `TRANSITIONS` changes it.
        window: Its send window in bytes; below 0 after SETTINGS of the client reduced it.
        has_sent_headers: Whether HEADERS of the response were sent.
        trailers: The header block that ends the stream after its messages; None: more messages may follow.
    """

    __slots__ = ("_pieces", "_queued_bytes", "has_sent_headers", "state", "stream_id", "trailers", "window")

    def __init__(self, stream_id: int, window: int, state: StreamState) -> None:
        self.stream_id = stream_id
        self.window = window
        self.state = state
        self.has_sent_headers = False
        self.trailers: bytes | None = None
        self._pieces: deque[bytes | memoryview] | None = None
        self._queued_bytes = 0

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait."""
        return self._queued_bytes

    def add(self, message: bytes, *, is_compressed: bool = False) -> None:
        """Queues a message."""
        if self._pieces is None:
            self._pieces = deque()
        self._pieces += (message_prefix(len(message), is_compressed=is_compressed), memoryview(message))
        self._queued_bytes += PREFIX_BYTES + len(message)

    def take(self, size: int) -> list[bytes | memoryview]:
        """Removes and returns the next `size` bytes, which must be there."""
        assert self._pieces is not None
        self._queued_bytes -= size
        taken: list[bytes | memoryview] = []
        while size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(memoryview(piece)[size:])
                piece = piece[:size]
            taken.append(piece)
            size -= len(piece)
        if not self._queued_bytes:
            self.on_drained()
        return taken

    def clear(self) -> None:
        """Removes everything that waits, messages and trailers."""
        self._pieces = None
        self.trailers = None
        self._queued_bytes = 0
        self.on_drained()

    def on_drained(self) -> None:
        """Is called when no message waits any more; for subclasses."""

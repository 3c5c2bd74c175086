"""What one stream has yet to send."""

from __future__ import annotations

import asyncio
from collections import deque

from onnxmesh.http2.protocol.messages import PREFIX_BYTES, message_prefix


class SendStream:
    """What one stream has yet to send.

    Attributes:
        stream: Its number.
        window: Bytes that the client takes of it now; below zero after it took some back.
        is_begun: Whether headers were sent.
        is_sent: Whether its end was sent, or nobody waits for it.
    """

    __slots__ = ("_drained", "_num_bytes", "_pieces", "_trailers", "is_begun", "is_sent", "stream", "window")

    def __init__(self, stream: int, window: int) -> None:
        self.stream = stream
        self.window = window
        self.is_begun = False
        self.is_sent = False
        self._pieces: deque[bytes | memoryview] | None = None
        self._num_bytes = 0
        self._trailers: bytes | None = None
        self._drained: asyncio.Future[None] | None = None

    def add(self, message: bytes) -> None:
        """Takes a message that is to be sent."""
        if self._pieces is None:
            self._pieces = deque()
        self._pieces += (message_prefix(len(message)), memoryview(message))
        self._num_bytes += PREFIX_BYTES + len(message)

    def clear(self) -> None:
        """Drops what waits."""
        self._pieces = None
        self._trailers = None
        self._num_bytes = 0
        self._wake()

    def take(self, size: int) -> list[bytes | memoryview]:
        """Removes the next `size` bytes."""
        assert self._pieces is not None
        self._num_bytes -= size
        taken: list[bytes | memoryview] = []
        while size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(memoryview(piece)[size:])
                piece = piece[:size]
            taken.append(piece)
            size -= len(piece)
        if not self._num_bytes:
            self._wake()
        return taken

    @property
    def num_bytes(self) -> int:
        """Bytes of messages that wait."""
        return self._num_bytes

    @property
    def trailers(self) -> bytes | None:
        """What follows the messages; None: more messages may."""
        return self._trailers

    @trailers.setter
    def trailers(self, block: bytes) -> None:
        self._trailers = block

    async def drained(self) -> None:
        """Returns once nothing waits."""
        if self._num_bytes:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

"""Messages over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.rpc.frames import Frame, SharedPayload
from onnxmesh.rpc.same_host.shared_memory import OwnMemory, PeerMemory, placed

LEAST_SHARED_BYTES = 32 << 10
"""Smaller payloads go through the socket: that costs less than taking and releasing memory."""

MAX_MESSAGE_BYTES = 64 << 20
"""A longer one is none of ours."""

LENGTH_BYTES = 4
"""Before each message."""


class SocketPipe(asyncio.Protocol):
    """One end of a Unix socket that carries messages; large payloads stay in shared memory.

    Args:
        own: What this side writes payloads to.
        peer_descriptor: Of the memory that the other side writes to.
    """

    same_host = True
    gathers = False

    def __init__(self, own: OwnMemory, peer_descriptor: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._own = own
        self._peer = PeerMemory(peer_descriptor, self._no_view_left)
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._messages: deque[bytes] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._end: Exception | None = None
        self._ended = False
        self._freed: deque[int] = deque()
        self._on_freed: Callable[[list[int]], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in order or not."""
        self._finish(exc)
        self._own.close()

    def eof_received(self) -> None:
        """The other side sends nothing more."""
        self._finish(None)

    def pause_writing(self) -> None:
        """More is written than the other side takes."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Takes bytes, which may begin and end anywhere."""
        # Grows in place: a large message comes in many parts.
        self._rest += data
        begin, end = 0, len(self._rest)
        with memoryview(self._rest) as view:
            while end - begin >= LENGTH_BYTES:
                size = int.from_bytes(view[begin : begin + LENGTH_BYTES], "little")
                if size > MAX_MESSAGE_BYTES:
                    self._finish(CorruptData(f"a message of {size} bytes is announced"))
                    self.close()
                    return
                if end - begin - LENGTH_BYTES < size:
                    break
                begin += LENGTH_BYTES
                # A copy of its own, so that payloads are aligned in it and it can go as soon as they do.
                self._messages.append(bytes(view[begin : begin + size]))
                begin += size
        del self._rest[:begin]
        self._wake()

    async def read(self) -> bytes | None:
        """Returns the next message; None where the other side has ended the stream.

        Raises:
            Unavailable: The connection broke (UNAVAILABLE).
        """
        while not self._messages:
            if self._ended:
                if self._end is not None:
                    raise Unavailable(f"the socket broke: {self._end}")
                return None
            self._reader = self._loop.create_future()
            await self._reader
        return self._messages.popleft()

    async def write(self, message: bytes) -> None:
        """Sends a message.

        Raises:
            Unavailable: The connection is gone (UNAVAILABLE).
        """
        if self._ended or self._transport is None:
            raise Unavailable(f"the socket broke: {self._end or 'the other side ended it'}")
        self._transport.write(len(message).to_bytes(LENGTH_BYTES, "little") + message)
        if not self._writable.is_set():
            await self._writable.wait()

    def place(self, frame: Frame) -> Frame:
        """Puts large payloads into shared memory, as far as there is room."""
        return placed(self._own, frame, LEAST_SHARED_BYTES)

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the other side has put there.

        Raises:
            CorruptData: It is outside the memory (DATA_LOSS).
        """
        return self._peer.view(payload)

    def release(self, offsets: Iterable[int]) -> None:
        """Takes that the other side has read payloads.

        Raises:
            CorruptData: One of them is not there (DATA_LOSS).
        """
        for offset in offsets:
            self._own.release(offset)

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Has `callback` called on the event loop with payloads of the other side that nobody here reads any more."""
        self._on_freed = callback

    def close(self) -> None:
        """Ends the connection, after what was written."""
        if self._transport is not None:
            self._transport.close()

    def _finish(self, why: Exception | None) -> None:
        if not self._ended:
            self._ended, self._end = True, why
            self._writable.set()
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _no_view_left(self, offset: int) -> None:
        """Comes from whichever thread dropped the last view."""
        self._freed.append(offset)
        if len(self._freed) == 1:
            with contextlib.suppress(RuntimeError):  # the loop is closed: so is the stream
                self._loop.call_soon_threadsafe(self._tell_freed)

    def _tell_freed(self) -> None:
        offsets = []
        while self._freed:
            offsets.append(self._freed.popleft())
        if offsets:
            self._on_freed(offsets)

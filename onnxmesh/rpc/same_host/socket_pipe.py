"""A pipe over a Unix socket, with large payloads in shared memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.memory.shared_memory import OwnMemory, PeerMemory
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.same_host.shared_payloads import copy_payloads_in, share_payloads

MIN_SHARED_BYTES = 32 << 10
"""Smaller payloads are sent over the socket: that costs less than allocating and releasing memory."""

TRIM_S = 30.0
"""Memory that was not used for this time, or up to twice as long, is returned to the kernel."""

MAX_MESSAGE_BYTES = 64 << 20
"""A peer that announces a longer message is corrupt."""

LENGTH_BYTES = 4
"""The length before each message, little-endian."""


def _nothing(_: list[int]) -> None:
    """Default of the callback."""


class SocketPipe(asyncio.Protocol):
    """One end of a Unix socket that carries messages. See `Pipe` for the methods.

    Args:
        own: Memory that this side writes payloads to.
        peer: Memory that the peer writes payloads to.
    """

    same_host = True

    def __init__(self, own: OwnMemory, peer: PeerMemory) -> None:
        self._loop = asyncio.get_running_loop()
        self._own = own
        self._peer = peer
        self._trimming: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._rest = bytearray()
        self._messages: deque[bytes] = deque()
        self._on_message: Callable[[bytes], bool] | None = None
        self._receiving: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._end: Exception | None = None
        self._ended = False
        self._freed: deque[int] = deque()
        self._on_freed: Callable[[list[int]], None] = _nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Records that the socket is connected."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._trimming = self._loop.call_later(TRIM_S, self._trim)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the stream: the connection is closed or broken."""
        self._finish(exc)
        if self._trimming is not None:
            self._trimming.cancel()
        self._own.close()

    def eof_received(self) -> None:
        """Ends the stream: the peer sends nothing more."""
        self._finish(None)

    def pause_writing(self) -> None:
        """Pauses writing: the peer reads more slowly than this side writes."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Resumes writing."""
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Handles received bytes, which may begin and end anywhere in a message."""
        # Grows in place: a large message is received in many parts.
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
                # Copied, so that payloads are aligned in it and it is freed with the last of them.
                self._messages.append(bytes(view[begin : begin + size]))
                begin += size
        del self._rest[:begin]
        self._deliver()

    async def receive(self, on_message: Callable[[bytes], bool]) -> None:
        """Calls `on_message` with each received message.

        Raises:
            Unavailable: The connection broke (UNAVAILABLE).
        """
        self._on_message = on_message
        self._receiving = self._loop.create_future()
        self._deliver()
        try:
            await self._receiving
        finally:
            # An exception references this call and its message: it must not be referenced in turn.
            self._on_message = self._receiving = None

    async def write(self, message: bytes) -> None:
        """Writes a message; waits for flow control.

        Raises:
            Unavailable: The connection has ended (UNAVAILABLE).
        """
        if self._ended or self._transport is None:
            raise Unavailable(f"the socket broke: {self._end or 'the peer closed it'}")
        self._transport.write(len(message).to_bytes(LENGTH_BYTES, "little") + message)
        if not self._writable.is_set():
            await self._writable.wait()

    @property
    def has_capacity(self) -> bool:
        """Whether flow control lets this side write; False once the connection has ended."""
        return self._writable.is_set() and not self._ended

    def write_now(self, message: bytes) -> None:
        """Writes a message without waiting."""
        assert self._transport is not None
        self._transport.write(len(message).to_bytes(LENGTH_BYTES, "little") + message)

    def allocate(self, byte_size: int) -> memoryview | None:
        """Returns writable shared memory; see `OwnMemory.allocate`."""
        return self._own.allocate(byte_size)

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Copies large payloads to shared memory, as far as they fit, in a thread."""
        if any(len(each) >= MIN_SHARED_BYTES and not self._own.contains(each) for each in frame.payloads):
            return await asyncio.to_thread(copy_payloads_in, self._own, frame, MIN_SHARED_BYTES)
        return frame

    def share_payloads(self, frame: Frame) -> Frame:
        """Shares large payloads, if all of them fit into the memory."""
        return share_payloads(self._own, frame, MIN_SHARED_BYTES)

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has shared.

        Raises:
            CorruptData: It is outside the memory (DATA_LOSS).
        """
        return self._peer.view(payload, self._no_view_left)

    def release(self, offsets: Iterable[int]) -> None:
        """Frees shared payloads that the peer has read.

        Raises:
            CorruptData: No payload is shared at one of the offsets (DATA_LOSS).
        """
        for offset in offsets:
            self._own.release(offset)

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Sets the callback, on the event loop, for offsets of payloads that no view refers to any more."""
        self._on_freed = callback

    def close(self) -> None:
        """Closes the connection after what was written; nothing more is read."""
        self._peer.close()
        # Remaining views reference this pipe, which must not reference the objects that keep the views.
        self._on_freed = _nothing
        if self._transport is not None:
            self._transport.close()

    def _finish(self, why: Exception | None) -> None:
        if not self._ended:
            self._ended, self._end = True, why
            self._writable.set()
            self._deliver()

    def _deliver(self) -> None:
        """Passes received messages, then the end of the stream, to the receiver, once there is one."""
        if self._on_message is None or self._receiving is None or self._receiving.done():
            return
        try:
            while self._messages:
                if self._on_message(self._messages.popleft()):
                    self._receiving.set_result(None)
                    return
        except Exception as error:  # noqa: BLE001 - `receive` raises it
            self._receiving.set_exception(error)
            return
        if self._ended and self._end is not None:
            self._receiving.set_exception(Unavailable(f"the socket broke: {self._end}"))
        elif self._ended:
            self._receiving.set_result(None)

    def _trim(self) -> None:
        if self._own.backed_bytes:
            self._loop.run_in_executor(None, self._own.trim)
        self._trimming = self._loop.call_later(TRIM_S, self._trim)

    def _no_view_left(self, offset: int) -> None:
        """Called in the thread that dropped the last view."""
        self._freed.append(offset)
        if len(self._freed) == 1:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the stream
                self._loop.call_soon_threadsafe(self._report_freed)

    def _report_freed(self) -> None:
        offsets = []
        while self._freed:
            offsets.append(self._freed.popleft())
        if offsets:
            self._on_freed(offsets)

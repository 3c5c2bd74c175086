"""Messages over a Unix socket."""

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
"""Smaller payloads go through the socket: that costs less than taking and releasing memory."""

TRIM_S = 30.0
"""Memory that was not needed for so long, or up to twice that, is given back."""

MAX_MESSAGE_BYTES = 64 << 20
"""A longer one is none of ours."""

LENGTH_BYTES = 4
"""Before each message."""


def _nothing(_: list[int]) -> None:
    """Nobody is told what is freed."""


class SocketPipe(asyncio.Protocol):
    """One end of a Unix socket that carries messages; large payloads stay in shared memory.

    Args:
        own: What this side writes payloads to.
        peer: What the other side writes payloads to.
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
        self._take: Callable[[bytes], bool] | None = None
        self._over: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._end: Exception | None = None
        self._ended = False
        self._freed: deque[int] = deque()
        self._on_freed: Callable[[list[int]], None] = _nothing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._trimming = self._loop.call_later(TRIM_S, self._trim)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in order or not."""
        self._finish(exc)
        if self._trimming is not None:
            self._trimming.cancel()
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
        self._hand_on()

    async def receive(self, take: Callable[[bytes], bool]) -> None:
        """Has `take` called as messages come.

        Raises:
            Unavailable: The connection broke (UNAVAILABLE).
        """
        self._take = take
        self._over = self._loop.create_future()
        self._hand_on()
        try:
            await self._over
        finally:
            # What it raised keeps this frame, and what was being taken: it must not be kept in turn.
            self._take = self._over = None

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

    @property
    def has_capacity(self) -> bool:
        """Whether the other side takes what is written; a connection that is gone has none."""
        return self._writable.is_set() and not self._ended

    def write_now(self, message: bytes) -> None:
        """Sends a message."""
        assert self._transport is not None
        self._transport.write(len(message).to_bytes(LENGTH_BYTES, "little") + message)

    def allocate(self, byte_size: int) -> memoryview | None:
        """Returns room in shared memory; see `OwnMemory.allocate`."""
        return self._own.allocate(byte_size)

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Copies large payloads into shared memory, as far as there is room, in a thread: others are served meanwhile."""
        if any(len(each) >= MIN_SHARED_BYTES and not self._own.contains(each) for each in frame.payloads):
            return await asyncio.to_thread(copy_payloads_in, self._own, frame, MIN_SHARED_BYTES)
        return frame

    def share_payloads(self, frame: Frame) -> Frame:
        """Puts large payloads into shared memory, as far as there is room."""
        return share_payloads(self._own, frame, MIN_SHARED_BYTES)

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the other side has put there.

        Raises:
            CorruptData: It is outside the memory (DATA_LOSS).
        """
        return self._peer.view(payload, self._no_view_left)

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
        """Ends the connection, after what was written; nothing more is read."""
        self._peer.close()
        # Views that are left know this pipe; through it they must not keep whoever keeps them.
        self._on_freed = _nothing
        if self._transport is not None:
            self._transport.close()

    def _finish(self, why: Exception | None) -> None:
        if not self._ended:
            self._ended, self._end = True, why
            self._writable.set()
            self._hand_on()

    def _hand_on(self) -> None:
        """Hands on what has come, and the end after it, once somebody takes it."""
        if self._take is None or self._over is None or self._over.done():
            return
        try:
            while self._messages:
                if self._take(self._messages.popleft()):
                    self._over.set_result(None)
                    return
        except Exception as error:  # noqa: BLE001 - whoever carries is told
            self._over.set_exception(error)
            return
        if self._ended and self._end is not None:
            self._over.set_exception(Unavailable(f"the socket broke: {self._end}"))
        elif self._ended:
            self._over.set_result(None)

    def _trim(self) -> None:
        if self._own.backed_bytes:
            self._loop.run_in_executor(None, self._own.trim)
        self._trimming = self._loop.call_later(TRIM_S, self._trim)

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

"""One long-lived stream of frames between two processes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import grpc.aio

from onnxmesh.deadline import Clock
from onnxmesh.errors import CorruptData, MeshError, Unavailable
from onnxmesh.rpc.chunking import DEFAULT_CHUNK_BYTES, Assembler, split
from onnxmesh.rpc.frames import Frame, SharedPayload, decode, encode
from onnxmesh.rpc.gathering import GATHER_S, Gathering
from onnxmesh.v1.frame_pb2 import FrameHeader, Goodbye, Release

LEAVE_S = 2.0
"""How long what is queued, and the Goodbye after it, have to get out."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes and times of a link.

    Attributes:
        chunk_bytes: Frames with more payload than this are sent in pieces of this size.
        high_water_bytes: `Link.send` waits while more than this is queued.
        heartbeat_s: An idle side sends an empty Envelope this often.
        silence_s: A peer that says nothing for this long is taken for dead.
    """

    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    high_water_bytes: int = 64 << 20
    heartbeat_s: float = 1.0
    silence_s: float = 3.0


class Pipe(Protocol):
    """One end of a stream of messages, dialled or accepted."""

    @property
    def gathers(self) -> bool:
        """Whether a message costs so much that waiting for more frames to go with it may pay."""

    async def read(self) -> bytes | None:
        """Returns the next message; None where the stream has ended."""

    async def write(self, message: bytes) -> None:
        """Sends one message; waits for flow control."""

    def place(self, frame: Frame) -> Frame:
        """Puts payloads where the peer sees them, where there is such a place; they are then not sent."""

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has placed."""

    def release(self, offsets: Iterable[int]) -> None:
        """Takes that the peer has read what was placed."""

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Has `callback` called with what the peer has placed and nobody here reads any more."""


class Link:
    """Frames to and from one peer.

    Frames queued while a message is being written leave together in the next one. Large frames leave
    in chunks and arrive whole.

    Attributes:
        peer: Node id of the other side.
        generation: Generation that the other side said it is.
        closed: Set once the link has ended.

    Args:
        pipe: The stream, after both Hellos.
        peer: Node id of the other side.
        generation: Generation that the other side said it is.
        on_frame: Called on the event loop with each whole frame; must not block.
        clock: Seconds, monotonic.
        limits: Sizes and times.
    """

    def __init__(
        self,
        pipe: Pipe,
        peer: str,
        generation: int,
        on_frame: Callable[[Link, Frame], None],
        *,
        clock: Clock,
        limits: LinkLimits,
    ) -> None:
        self.peer = peer
        self.generation = generation
        self._pipe = pipe
        self._on_frame = on_frame
        self._clock = clock
        self._limits = limits
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._heard_at = clock()
        self._open = True
        self._leaving = False
        self.closed = asyncio.Event()
        pipe.on_freed(lambda offsets: self.send_soon(FrameHeader(release=Release(offsets=offsets))))

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return self._open and not self._leaving

    async def send(self, frame: Frame) -> None:
        """Queues `frame`; waits while too much is queued already.

        Raises:
            Unavailable: The link is closed (UNAVAILABLE).
        """
        await self._has_room()
        for piece in split(self._pipe.place(frame), self._limits.chunk_bytes):
            await self._has_room()
            self._enqueue(piece)

    def send_soon(self, header: FrameHeader) -> None:
        """Queues a frame without payloads at once; a closed link drops it."""
        if self.is_open:
            self._enqueue(Frame(header))

    def leave(self) -> None:
        """Says Goodbye after what is queued and ends the stream."""
        if self.is_open:
            self._enqueue(Frame(FrameHeader(goodbye=Goodbye())))
            self._leaving = True

    async def run(self) -> MeshError | None:
        """Carries frames until the stream ends.

        Returns:
            None where either side said Goodbye, else why the link broke.
        """
        failure: MeshError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                reading, writing, watching = (
                    tasks.create_task(job) for job in (self._read(), self._write(), self._watch_silence())
                )
                await asyncio.wait((reading, writing, watching), return_when=asyncio.FIRST_COMPLETED)
                if writing.done() and self._leaving:
                    # The peer ends the stream when it has read the Goodbye. Cancelling a read that waits would
                    # cancel the call, and with it what is on its way.
                    await asyncio.wait(
                        (reading, watching), timeout=LEAVE_S, return_when=asyncio.FIRST_COMPLETED
                    )
                for job in (reading, writing, watching):
                    job.cancel()
        except* MeshError as group:
            failure = next(error for error in _leaves(group) if isinstance(error, MeshError))
        except* (grpc.aio.BaseError, grpc.aio.AioRpcError) as group:
            failure = Unavailable(f"the stream to {self.peer} broke: {_reason(next(_leaves(group)))}")
        finally:
            self._open = False
            self._room.set()
            self._queue.clear()
            self.closed.set()
        return failure

    async def _has_room(self) -> None:
        if not self._room.is_set():
            await self._room.wait()
        if not self.is_open:
            raise Unavailable(f"the stream to {self.peer} is closed")

    def _enqueue(self, frame: Frame) -> None:
        self._queue.append(frame)
        self._queued_bytes += frame.payload_bytes
        if self._queued_bytes > self._limits.high_water_bytes:
            self._room.clear()
        self._wake.set()

    async def _read(self) -> None:
        assembler = Assembler()
        while (message := await self._pipe.read()) is not None:
            self._heard_at = self._clock()
            # In a function of its own, so that nothing here keeps the last frame until the next one comes.
            if self._took_goodbye(message, assembler):
                return
            del message
        if not self._leaving:
            raise Unavailable(f"the stream from {self.peer} ended without a Goodbye")

    def _took_goodbye(self, message: bytes, assembler: Assembler) -> bool:
        """Hands a message's frames on; returns whether the peer has left."""
        for piece in decode(message, self._pipe.resolve):
            frame = assembler.feed(piece)
            if frame is None:
                continue
            kind = frame.header.WhichOneof("kind")
            if kind == "goodbye":
                return True
            if kind == "release":
                self._pipe.release(frame.header.release.offsets)
            else:
                self._on_frame(self, frame)
        return False

    async def _write(self) -> None:
        gathering = Gathering()
        while True:
            try:
                async with asyncio.timeout(self._limits.heartbeat_s):
                    await self._wake.wait()
            except TimeoutError:
                await self._pipe.write(b"")
                continue
            if (
                self._pipe.gathers
                and gathering.should_wait(self._clock())
                and self._queued_bytes < self._limits.chunk_bytes
            ):
                await asyncio.sleep(GATHER_S)
            frames = self._take()
            await self._pipe.write(encode(frames))
            gathering.wrote(len(frames), self._clock())
            if frames and frames[-1].header.WhichOneof("kind") == "goodbye":
                return

    def _take(self) -> list[Frame]:
        """Takes what fits into one message: frames of up to a chunk's size, one at the least."""
        frames: list[Frame] = []
        size = 0
        while self._queue and (not frames or size + self._queue[0].payload_bytes <= self._limits.chunk_bytes):
            frame = self._queue.popleft()
            size += frame.payload_bytes
            frames.append(frame)
        self._queued_bytes -= size
        if self._queued_bytes <= self._limits.high_water_bytes:
            self._room.set()
        if not self._queue:
            self._wake.clear()
        return frames

    async def _watch_silence(self) -> None:
        while True:
            before = self._clock()
            await asyncio.sleep(self._limits.heartbeat_s)
            if self._clock() - before > 2 * self._limits.heartbeat_s:
                # This process stood still itself; what the peer said waits to be read.
                self._heard_at = self._clock()
            silence_s = self._clock() - self._heard_at
            if silence_s > self._limits.silence_s:
                raise Unavailable(f"{self.peer} has said nothing for {silence_s:.1f} s")


def hello_of(message: bytes | None, who: str) -> tuple[str, int]:
    """Returns node id and generation from the first message of a stream.

    Raises:
        Unavailable: The stream ended before it (UNAVAILABLE).
        CorruptData: It is no Hello (DATA_LOSS).
    """
    if message is None:
        raise Unavailable(f"{who} ended the stream before its Hello")
    frames = decode(message)
    if len(frames) != 1 or frames[0].header.WhichOneof("kind") != "hello":
        raise CorruptData(f"expected a Hello from {who} first")
    hello = frames[0].header.hello
    return hello.node, hello.generation


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__

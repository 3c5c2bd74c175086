"""One long-lived stream of frames between two processes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

import grpc.aio

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.rpc.chunking import Assembler, split
from onnxmesh.rpc.compression_choice import LEAST_BYTES
from onnxmesh.rpc.frames import Frame, decode, encode
from onnxmesh.rpc.gathering import GATHER_S, Gathering
from onnxmesh.rpc.link_limits import LinkLimits
from onnxmesh.rpc.nap import Nap
from onnxmesh.rpc.pipe import Pipe
from onnxmesh.rpc.pulse import Pulse
from onnxmesh.rpc.way_gauge import PAYLOAD_BYTES, GaugedWay, WayGauge
from onnxmesh.tensors.room import FindRoom
from onnxmesh.v1.frame_pb2 import FrameHeader, Goodbye, Ping, Pong, Release

LEAVE_S = 2.0
"""How long what is queued, and the Goodbye after it, have to get out."""

QUIET_BYTES = 64 << 10
"""A link over which less went since the last ping is quiet."""

LARGE_BYTES = 1 << 20
"""Frames with at least so much payload may be copied aside before they are sent."""

MAX_URGENT = 64
"""Pings and answers to pings that may wait; beyond, they are dropped."""

_PAYLOAD = memoryview(bytes(PAYLOAD_BYTES))


class Link:
    """Frames to and from one peer.

    Frames queued while a message is being written leave together in the next one. Large frames leave
    in chunks and arrive whole. Pings, and answers to the peer's, go past what is queued, in messages of their own.

    Attributes:
        peer: Node id of the other side.
        generation: Generation that the other side said it is.
        is_silent: Whether the peer is suspect: it should have said something by now, and has not.
        closed: Set once the link has ended.

    Args:
        pipe: The stream, after both Hellos.
        peer: Node id of the other side.
        generation: Generation that the other side said it is.
        on_frame: Called on the event loop with each whole frame; must not block.
        on_silence: Called on the event loop whenever `is_silent` has changed; must not block.
        clock: Seconds, monotonic.
        limits: Sizes and times.
        draw: Draws from [0, 1): so that pings of many links do not come together.
    """

    def __init__(
        self,
        pipe: Pipe,
        peer: str,
        generation: int,
        on_frame: Callable[[Link, Frame], None],
        *,
        on_silence: Callable[[Link], None],
        clock: Clock,
        limits: LinkLimits,
        draw: Callable[[], float],
    ) -> None:
        self.peer = peer
        self.generation = generation
        self._pipe = pipe
        self._on_frame = on_frame
        self._on_silence = on_silence
        self._clock = clock
        self._limits = limits
        self._draw = draw
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._urgent: deque[Frame] = deque()
        self._nap = Nap()
        self._gauge = WayGauge()
        self._passed_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._assembler = Assembler()
        self._wake = asyncio.Event()
        self._num_in_turn = 0
        self._is_crowded = False
        self._is_writing = False
        self._room = asyncio.Event()
        self._room.set()
        self._pulse = Pulse(limits, clock())
        self._stirred = asyncio.Event()
        self._open = True
        self._leaving = False
        self._peer_left = False
        self.is_silent = False
        self.closed = asyncio.Event()
        pipe.on_freed(lambda offsets: self.send_soon(FrameHeader(release=Release(offsets=offsets))))

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return self._open and not self._leaving

    @property
    def way(self) -> GaugedWay | None:
        """The way to the peer, as it was measured lately; None before the first measurement."""
        return self._gauge.way

    @property
    def find_room(self) -> FindRoom | None:
        """Finds room for payloads that the peer will read in place; None where it shares no memory."""
        return self._pipe.reserve

    @property
    def same_host(self) -> bool:
        """Whether the peer is known to be on this host."""
        return self._pipe.same_host

    async def send(self, frame: Frame) -> None:
        """Queues `frame`; waits while too much is queued already.

        Raises:
            Unavailable: The link is closed (UNAVAILABLE).
        """
        if frame.payload_bytes >= LARGE_BYTES:
            frame = await self._pipe.bring(frame)
        await self._has_room()
        self._use()
        for piece in split(self._pipe.place(frame), self._limits.chunk_bytes):
            await self._has_room()
            self._enqueue(piece)

    def try_send(self, frame: Frame) -> bool:
        """Queues `frame` if that takes no wait, nothing could make it smaller and it goes in one piece; returns whether it did.

        Else `send` it.

        Raises:
            Unavailable: The link is closed (UNAVAILABLE).
        """
        if not self.is_open:
            raise Unavailable(f"the stream to {self.peer} is closed")
        most_bytes = self._limits.chunk_bytes if self._pipe.same_host else LEAST_BYTES - 1
        if not self._room.is_set() or frame.payload_bytes > most_bytes:
            return False
        self._use()
        self._enqueue(self._pipe.place(frame))
        return True

    def send_soon(self, header: FrameHeader) -> None:
        """Queues a frame without payloads at once; a closed link drops it."""
        if self.is_open:
            self._enqueue(Frame(header))

    def leave(self) -> None:
        """Says Goodbye after what is queued and ends the stream."""
        if self.is_open:
            self._leaving = True
            self._enqueue(Frame(FrameHeader(goodbye=Goodbye())))

    async def run(self) -> MeshError | None:
        """Carries frames until the stream ends.

        Returns:
            None where either side said Goodbye, else why the link broke.
        """
        # No group: what it raises is tied up with all that its tasks were about, and only the collector of cycles ends that.
        jobs = [
            self._loop.create_task(job)
            for job in (self._read(), self._write(), self._watch_silence(), self._measure())
        ]
        reading, writing, watching, _ = jobs
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and self._leaving:
                # The peer ends the stream when it has read the Goodbye. Cancelling a read that waits would
                # cancel the call, and with it what is on its way.
                await asyncio.wait((reading, watching), timeout=LEAVE_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            self._open = False
            self._room.set()
            self._queue.clear()
            self.closed.set()
        return self._why_broken(jobs)

    def _why_broken(self, jobs: Iterable[asyncio.Task[None]]) -> MeshError | None:
        errors = [error for job in jobs if not job.cancelled() and (error := job.exception()) is not None]
        for error in errors:
            if not isinstance(error, MeshError | grpc.aio.BaseError | grpc.aio.AioRpcError):
                raise error
        for error in errors:
            if isinstance(error, MeshError):
                return error
        return Unavailable(f"the stream to {self.peer} broke: {_reason(errors[0])}") if errors else None

    async def _has_room(self) -> None:
        if not self._room.is_set():
            await self._room.wait()
        if not self.is_open:
            raise Unavailable(f"the stream to {self.peer} is closed")

    def _use(self) -> None:
        """Takes that a request or an answer goes over the link: from now on it is watched closely."""
        if self._pulse.used(self._clock()):
            self._stirred.set()
            self._wake.set()

    def _enqueue(self, frame: Frame) -> None:
        self._queue.append(frame)
        self._queued_bytes += frame.payload_bytes
        if self._queued_bytes > self._limits.high_water_bytes:
            self._room.clear()
        self._stir()

    def _enqueue_urgent(self, frame: Frame) -> None:
        if len(self._urgent) < MAX_URGENT:
            self._urgent.append(frame)
            self._stir()
            self._nap.end()

    def _stir(self) -> None:
        """Has what is queued written: at once where frames come one by one, else all of one turn of the loop together."""
        if not self._pipe.is_prompt:
            self._wake.set()
            return
        self._num_in_turn += 1
        if self._num_in_turn == 1:
            self._loop.call_soon(self._end_turn)
            if not self._is_crowded:
                self._flush()

    def _end_turn(self) -> None:
        self._is_crowded = self._num_in_turn > 1
        self._num_in_turn = 0
        self._flush()

    def _flush(self) -> None:
        while self._queue or self._urgent:
            if self._is_writing or self._leaving or not self._pipe.has_room:
                self._wake.set()
                return
            self._pipe.write_now(self._urgent_message() if self._urgent else self._message(self._take()))

    async def _read(self) -> None:
        await self._pipe.carry(self._took_goodbye)
        if not self._peer_left and not self._leaving:
            raise Unavailable(f"the stream from {self.peer} ended without a Goodbye")

    def _took_goodbye(self, message: bytes) -> bool:
        """Hands a message's frames on; returns whether the peer has left."""
        self._pulse.heard(self._clock())
        self._passed_bytes += len(message)
        self._suspect(False)
        for piece in decode(message, self._pipe.resolve):
            frame = self._assembler.feed(piece)
            if frame is None:
                continue
            kind = frame.header.WhichOneof("kind")
            if kind == "goodbye":
                self._peer_left = True
                return True
            if kind == "ping":
                self._enqueue_urgent(Frame(FrameHeader(pong=Pong(number=frame.header.ping.number))))
            elif kind == "pong":
                self._gauge.answered(frame.header.pong.number, self._clock())
            elif kind == "release":
                self._pipe.release(frame.header.release.offsets)
            else:
                if kind != "load":
                    self._use()
                self._on_frame(self, frame)
        return False

    async def _write(self) -> None:
        gathering = Gathering()
        while True:
            self._is_writing = False
            try:
                async with asyncio.timeout(self._pulse.interval_s(self._clock())):
                    await self._wake.wait()
            except TimeoutError:
                await self._pipe.write(b"")
                continue
            self._is_writing = True
            if self._urgent:
                await self._pipe.write(self._urgent_message())
                continue
            if (
                not self._pipe.is_prompt
                and gathering.should_wait(self._clock())
                and self._queued_bytes < self._limits.chunk_bytes
            ):
                await self._nap.take(GATHER_S)
                if self._urgent:
                    continue  # the frames that are here get their wait after it
            frames = self._take()
            message = self._message(frames)
            began_s = self._clock()
            await self._pipe.write(message)
            if (ping := self._gauge.wrote(len(message), began_s)) is not None:
                self._enqueue_urgent(Frame(FrameHeader(ping=Ping(number=ping.number))))
            gathering.wrote(len(frames), self._clock())
            if frames and frames[-1].header.WhichOneof("kind") == "goodbye":
                return
            # Nothing here may keep what was sent until more is.
            del frames, message

    def _urgent_message(self) -> bytes:
        frames = list(self._urgent)
        self._urgent.clear()
        if not self._queue:
            self._wake.clear()
        now_s = self._clock()
        for frame in frames:
            if frame.header.WhichOneof("kind") == "ping":
                self._gauge.sent(frame.header.ping.number, now_s)
        return self._message(frames)

    def _message(self, frames: list[Frame]) -> bytes:
        message = encode(frames)
        self._passed_bytes += len(message)
        return message

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
        if not self._queue and not self._urgent:
            self._wake.clear()
        return frames

    async def _measure(self) -> None:
        """Pings when the gauge wants it, a moment after the link is up for the first time."""
        await asyncio.sleep(self._limits.idle_heartbeat_s * self._draw() / 10)
        while True:
            quiet = not self._queue and self._passed_bytes < QUIET_BYTES
            self._passed_bytes = 0
            ping = self._gauge.ping(self._clock(), quiet=quiet) if self.is_open else None
            if ping is not None:
                payloads = (_PAYLOAD[: ping.num_bytes],) if ping.num_bytes else ()
                self._enqueue_urgent(Frame(FrameHeader(ping=Ping(number=ping.number)), payloads))
            await asyncio.sleep(self._limits.idle_heartbeat_s * (0.75 + self._draw() / 2))

    async def _watch_silence(self) -> None:
        while True:
            before_s = self._clock()
            interval_s = self._pulse.interval_s(before_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._stirred.wait()
            self._stirred.clear()
            now_s = self._clock()
            late_s = now_s - before_s - interval_s
            if late_s > interval_s:
                self._pulse.stood_still(late_s, now_s)
            if self._pulse.is_dead(now_s):
                raise Unavailable(f"{self.peer} has said nothing for {self._pulse.silence_s(now_s):.1f} s")
            self._suspect(self._pulse.is_suspect(now_s))

    def _suspect(self, is_silent: bool) -> None:
        if self.is_silent != is_silent:
            self.is_silent = is_silent
            self._on_silence(self)


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__

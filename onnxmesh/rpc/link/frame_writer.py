"""The write side of a link: a queue of frames, and the task that writes them."""

from __future__ import annotations

import asyncio
from collections import deque

from onnxmesh.deadline import Clock
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.rpc.link.write_coalescer import WriteCoalescer
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat
from onnxmesh.rpc.link_policy.link_estimator import LinkEstimator
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.rpc.link_policy.write_delay import WRITE_DELAY_S, WriteDelay
from onnxmesh.v1.frame_pb2 import FrameHeader, Goodbye, Ping

MAX_URGENT_FRAMES = 64
"""Pings and pongs that may be queued; more are dropped."""


class InterruptibleSleep:
    """Sleeps for one task at a time, until the time is over or `interrupt` is called. Belongs to one event loop."""

    def __init__(self) -> None:
        self._awake: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Returns after the given seconds, or at the next `interrupt`."""
        loop = asyncio.get_running_loop()
        self._awake = loop.create_future()
        handle = loop.call_later(seconds, self.interrupt)
        try:
            await self._awake
        finally:
            handle.cancel()
            self._awake = None

    def interrupt(self) -> None:
        """Ends the current sleep, if there is one."""
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)


class FrameWriter:
    """Queues frames for one peer and writes them in as few messages as pays. Belongs to one event loop.

    Frames queued while a message is being written share the next one. Pings and pongs pass the queue, in messages of
    their own.

    Attributes:
        is_disconnecting: Whether the Goodbye is queued or written.
        num_bytes: Bytes written since the start.

    Args:
        pipe: Where messages are written.
        heartbeat: Decides when an empty message is due.
        estimator: Gets the times of pings and messages.
        clock: Seconds, monotonic.
        limits: Sizes.
    """

    def __init__(
        self, pipe: Pipe, heartbeat: Heartbeat, estimator: LinkEstimator, *, clock: Clock, limits: LinkLimits
    ) -> None:
        self._pipe = pipe
        self._write_now = pipe.write_now
        self._heartbeat = heartbeat
        self._estimator = estimator
        self._clock = clock
        self._limits = limits
        self._queue: deque[Frame] = deque()
        self._queued_bytes = 0
        self._urgent: deque[Frame] = deque()
        self._wake = asyncio.Event()
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()
        self._delay = InterruptibleSleep()
        self._coalescer = WriteCoalescer(asyncio.get_running_loop())
        self._is_writing = False
        self.is_disconnecting = False
        self.num_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether no frame is queued except pings and pongs."""
        return not self._queue

    @property
    def has_capacity(self) -> bool:
        """Whether the queue is below its high-water mark."""
        return self._has_capacity.is_set()

    async def wait_for_capacity(self) -> None:
        """Waits until the queue is below its high-water mark or the writer is closed."""
        await self._has_capacity.wait()

    def put(self, frame: Frame) -> None:
        """Queues a frame."""
        self._queue.append(frame)
        self._queued_bytes += frame.payload_bytes
        if self._queued_bytes > self._limits.high_water_bytes:
            self._has_capacity.clear()
        self._start_writing()

    def put_urgent(self, frame: Frame) -> None:
        """Queues a ping or a pong ahead of all other frames."""
        if len(self._urgent) < MAX_URGENT_FRAMES:
            self._urgent.append(frame)
            self._start_writing()
            self._delay.interrupt()

    def disconnect(self) -> None:
        """Queues the Goodbye; no frame may be queued after it."""
        self.is_disconnecting = True
        self.put(Frame(FrameHeader(goodbye=Goodbye())))

    def wake(self) -> None:
        """Writes a message now, and applies the current heartbeat interval from then on."""
        self._wake.set()

    def close(self) -> None:
        """Drops the queued frames."""
        self._has_capacity.set()
        self._queue.clear()
        self._urgent.clear()

    async def run(self) -> None:
        """Writes queued frames and heartbeats until the Goodbye is written."""
        write_delay = WriteDelay()
        while True:
            self._is_writing = False
            try:
                async with asyncio.timeout(self._heartbeat.interval_s(self._clock())):
                    await self._wake.wait()
            except TimeoutError:
                await self._pipe.write(b"")
                continue
            self._is_writing = True
            if self._urgent:
                await self._pipe.write(self._urgent_message())
                continue
            if (
                self._write_now is None
                and write_delay.should_wait(self._clock())
                and self._queued_bytes < self._limits.chunk_bytes
            ):
                await self._delay.sleep(WRITE_DELAY_S)
                if self._urgent:
                    continue  # the queued frames are delayed after the ping
            frames = self._dequeue()
            message = self._message(frames)
            began_s = self._clock()
            await self._pipe.write(message)
            if (ping := self._estimator.message_written(len(message), began_s)) is not None:
                self.put_urgent(Frame(FrameHeader(ping=Ping(number=ping.number))))
            write_delay.message_written(len(frames), self._clock())
            if frames and frames[-1].header.WhichOneof("kind") == "goodbye":
                return
            # A reference would keep the last message alive until the next one is written.
            del frames, message

    def _start_writing(self) -> None:
        """Starts writing the queue."""
        if self._write_now is None:
            self._wake.set()
        else:
            self._coalescer.schedule(self._flush)

    def _flush(self) -> None:
        while self._queue or self._urgent:
            if (
                self._write_now is None
                or self._is_writing
                or self.is_disconnecting
                or not self._pipe.has_capacity
            ):
                self._wake.set()
                return
            self._write_now(self._urgent_message() if self._urgent else self._message(self._dequeue()))

    def _dequeue(self) -> list[Frame]:
        """Dequeues the frames of the next message: one, or more while they fit into a chunk."""
        frames: list[Frame] = []
        size = 0
        while self._queue and (not frames or size + self._queue[0].payload_bytes <= self._limits.chunk_bytes):
            frame = self._queue.popleft()
            size += frame.payload_bytes
            frames.append(frame)
        self._queued_bytes -= size
        if self._queued_bytes <= self._limits.high_water_bytes:
            self._has_capacity.set()
        if not self._queue and not self._urgent:
            self._wake.clear()
        return frames

    def _urgent_message(self) -> bytes:
        frames = list(self._urgent)
        self._urgent.clear()
        if not self._queue:
            self._wake.clear()
        now_s = self._clock()
        for frame in frames:
            if frame.header.WhichOneof("kind") == "ping":
                self._estimator.ping_sent(frame.header.ping.number, now_s)
        return self._message(frames)

    def _message(self, frames: list[Frame]) -> bytes:
        message = encode_envelope(frames)
        self.num_bytes += len(message)
        return message

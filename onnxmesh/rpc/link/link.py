"""A link: one long-lived, bidirectional stream of frames between two processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

import grpc.aio

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, Unavailable
from onnxmesh.rpc.frames.chunking import Assembler, split_frame
from onnxmesh.rpc.frames.frames import Frame, decode_envelope
from onnxmesh.rpc.link.failure_detector import FailureDetector
from onnxmesh.rpc.link.frame_writer import FrameWriter
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat
from onnxmesh.rpc.link_policy.link_estimator import MAX_PAYLOAD_BYTES, LinkEstimate, LinkEstimator
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.compression.compression_choice import MIN_COMPRESSED_BYTES
from onnxmesh.v1.frame_pb2 import FrameHeader, Ping, Pong, Release

DISCONNECT_TIMEOUT_S = 2.0
"""How long queued frames, and the Goodbye after them, may take to be sent."""

QUIET_BYTES = 64 << 10
"""A link that carried fewer bytes than this since the last ping is quiet."""

BACKGROUND_COPY_BYTES = 1 << 20
"""Payloads of a frame with at least this many bytes may be copied to shared memory in a thread before it is sent."""

_PAYLOAD = memoryview(bytes(MAX_PAYLOAD_BYTES))


class Link:
    """Frames to and from one peer.

    Large frames are sent in chunks and received whole. `FrameWriter` decides which frames share a message.

    Attributes:
        peer: Node id of the peer.
        generation: Start number of the peer, from its Hello.
        closed: Set once the link has ended.

    Args:
        pipe: The stream, after both Hellos.
        peer: Node id of the peer.
        generation: Start number of the peer.
        on_frame: Called on the event loop with each whole frame; must not block.
        on_suspicion: Called on the event loop whenever `is_suspect` has changed; must not block.
        clock: Seconds, monotonic.
        limits: Sizes and times.
        draw: Draws from [0, 1), to spread the pings of many links over time.
    """

    def __init__(
        self,
        pipe: Pipe,
        peer: str,
        generation: int,
        *,
        on_frame: Callable[[Link, Frame], None],
        on_suspicion: Callable[[Link], None],
        clock: Clock,
        limits: LinkLimits,
        draw: Callable[[], float],
    ) -> None:
        self.peer = peer
        self.generation = generation
        self._pipe = pipe
        self._on_frame = on_frame
        self._on_suspicion = on_suspicion
        self._clock = clock
        self._limits = limits
        self._draw = draw
        self._estimator = LinkEstimator()
        self._heartbeat = Heartbeat(limits, clock())
        self._failure_detector = FailureDetector(peer, self._heartbeat, clock)
        self._writer = FrameWriter(pipe, self._heartbeat, self._estimator, clock=clock, limits=limits)
        self._assembler = Assembler()
        self._num_read_bytes = 0
        self._open = True
        self._peer_disconnected = False
        self.closed = asyncio.Event()
        pipe.on_freed(lambda offsets: self.send_soon(FrameHeader(release=Release(offsets=offsets))))

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent."""
        return self._open and not self._writer.is_disconnecting

    @property
    def is_suspect(self) -> bool:
        """Whether the peer is suspect: a heartbeat is overdue."""
        return self._failure_detector.is_suspect

    @property
    def estimate(self) -> LinkEstimate | None:
        """Latest measurements of the link; None before the first."""
        return self._estimator.estimate

    @property
    def allocator(self) -> Allocate | None:
        """Allocates memory for payloads that the peer reads in place; None where no memory is shared."""
        return self._pipe.allocate

    @property
    def same_host(self) -> bool:
        """Whether the peer is known to be on this host."""
        return self._pipe.same_host

    async def send(self, frame: Frame) -> None:
        """Queues `frame`; waits while too many bytes are queued already.

        Raises:
            Unavailable: The link is closed (UNAVAILABLE).
        """
        if frame.payload_bytes >= BACKGROUND_COPY_BYTES:
            frame = await self._pipe.copy_payloads_in(frame)
        await self._wait_for_capacity()
        self._observe_use()
        for piece in split_frame(self._pipe.share_payloads(frame), self._limits.chunk_bytes):
            await self._wait_for_capacity()
            self._writer.put(piece)

    def try_send(self, frame: Frame) -> bool:
        """Queues `frame` if that needs no waiting, no compression and no chunks; else returns False: use `send`.

        Raises:
            Unavailable: The link is closed (UNAVAILABLE).
        """
        if not self.is_open:
            raise Unavailable(f"the stream to {self.peer} is closed")
        max_bytes = self._limits.chunk_bytes if self._pipe.same_host else MIN_COMPRESSED_BYTES - 1
        if not self._writer.has_capacity or frame.payload_bytes > max_bytes:
            return False
        self._observe_use()
        self._writer.put(self._pipe.share_payloads(frame))
        return True

    def send_soon(self, header: FrameHeader) -> None:
        """Queues a frame without payloads at once; a closed link drops it."""
        if self.is_open:
            self._writer.put(Frame(header))

    def disconnect(self) -> None:
        """Sends a Goodbye after the queued frames, then ends the stream."""
        if self.is_open:
            self._writer.disconnect()

    async def run(self) -> MeshError | None:
        """Carries frames until the stream ends.

        Returns:
            None where either side sent a Goodbye, else why the link broke.
        """
        # No TaskGroup: its exceptions reference everything its tasks used, until the garbage collector runs.
        jobs = [
            asyncio.create_task(job)
            for job in (
                self._read(),
                self._writer.run(),
                self._failure_detector.run(partial(self._on_suspicion, self)),
                self._measure(),
            )
        ]
        reading, writing, watching, _ = jobs
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and self._writer.is_disconnecting:
                # The peer ends the stream once it has read the Goodbye. Cancelling a pending read would
                # cancel the call, and with it what is still being sent.
                await asyncio.wait(
                    (reading, watching), timeout=DISCONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.wait(jobs)
            self._open = False
            self._writer.close()
            self.closed.set()
        return self._failure(jobs)

    def _failure(self, jobs: Iterable[asyncio.Task[None]]) -> MeshError | None:
        errors = [error for job in jobs if not job.cancelled() and (error := job.exception()) is not None]
        for error in errors:
            if not isinstance(error, MeshError | grpc.aio.BaseError | grpc.aio.AioRpcError):
                raise error
        for error in errors:
            if isinstance(error, MeshError):
                return error
        return Unavailable(f"the stream to {self.peer} broke: {_reason(errors[0])}") if errors else None

    async def _wait_for_capacity(self) -> None:
        if not self._writer.has_capacity:
            await self._writer.wait_for_capacity()
        if not self.is_open:
            raise Unavailable(f"the stream to {self.peer} is closed")

    def _observe_use(self) -> None:
        """Records that a request or an answer passes the link: from now on the peer is watched closely."""
        if self._heartbeat.observe_use(self._clock()):
            self._failure_detector.wake()
            self._writer.wake()

    async def _read(self) -> None:
        await self._pipe.receive(self._on_message)
        if not self._peer_disconnected and not self._writer.is_disconnecting:
            raise Unavailable(f"the stream from {self.peer} ended without a Goodbye")

    def _on_message(self, message: bytes) -> bool:
        """Handles the frames of a message; returns whether one of them was the peer's Goodbye."""
        if self._failure_detector.observe_message():
            self._on_suspicion(self)
        self._num_read_bytes += len(message)
        for piece in decode_envelope(message, self._pipe.resolve):
            frame = self._assembler.feed(piece)
            if frame is None:
                continue
            kind = frame.header.WhichOneof("kind")
            if kind == "goodbye":
                self._peer_disconnected = True
                return True
            if kind == "ping":
                self._writer.put_urgent(Frame(FrameHeader(pong=Pong(number=frame.header.ping.number))))
            elif kind == "pong":
                self._estimator.pong_received(frame.header.pong.number, self._clock())
            elif kind == "release":
                self._pipe.release(frame.header.release.offsets)
            else:
                if kind != "load":
                    self._observe_use()
                self._on_frame(self, frame)
        return False

    async def _measure(self) -> None:
        """Sends the estimator's pings; the first one soon after the link is up."""
        await asyncio.sleep(self._limits.idle_heartbeat_s * self._draw() / 10)
        before_bytes = 0
        while True:
            passed_bytes = self._num_read_bytes + self._writer.num_bytes
            quiet = self._writer.is_empty and passed_bytes - before_bytes < QUIET_BYTES
            before_bytes = passed_bytes
            ping = self._estimator.next_ping(self._clock(), quiet=quiet) if self.is_open else None
            if ping is not None:
                payloads = (_PAYLOAD[: ping.num_bytes],) if ping.num_bytes else ()
                self._writer.put_urgent(Frame(FrameHeader(ping=Ping(number=ping.number)), payloads))
            await asyncio.sleep(self._limits.idle_heartbeat_s * (0.75 + self._draw() / 2))


def _reason(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__

"""A link over a pipe in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.tensors.compression.compression_choice import MIN_COMPRESSED_BYTES
from onnxmesh.v1.frame_pb2 import (
    Activation,
    Cancel,
    Chunk,
    FrameHeader,
    Goodbye,
    Load,
    Ping,
    Release,
    RequestKey,
)
from tests.eventually import eventually

LIMITS = LinkLimits(idle_heartbeat_s=3600.0, dead_after_s=1e9, suspect_after_s=1e9)
CANCEL = FrameHeader(cancel=Cancel(key=RequestKey(number=1)))


class MemoryPipe:
    """Receives what a test puts in, and keeps what is written."""

    same_host = False
    write_now = None
    allocate = None

    def __init__(self):
        self.incoming = asyncio.Queue()
        self.written = []
        self.released = []
        self.free = None

    async def receive(self, on_message):
        while (message := await self.incoming.get()) is not None:
            if on_message(message):
                return

    async def write(self, message):
        self.written += decode_envelope(message)

    async def copy_payloads_in(self, frame):
        return frame

    def share_payloads(self, frame):
        return frame

    def resolve(self, payload):
        raise CorruptData("no memory")

    def release(self, offsets):
        self.released += offsets

    def on_freed(self, callback):
        self.free = callback

    def put(self, *headers):
        self.incoming.put_nowait(encode_envelope([Frame(header) for header in headers]))

    @property
    def kinds(self):
        return [frame.header.WhichOneof("kind") for frame in self.written]


@asynccontextmanager
async def linked():
    """Yields a running link, its pipe, the frames that it received, and the task of its run."""
    pipe, frames = MemoryPipe(), []
    link = Link(
        pipe,
        "b",
        1,
        on_frame=lambda _, frame: frames.append(frame.header),
        on_suspicion=lambda _: None,
        clock=monotonic,
        limits=LIMITS,
        draw=lambda: 1.0,
    )
    running = asyncio.ensure_future(link.run())
    try:
        yield link, pipe, frames, running
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_link_handles_frames_of_the_link_itself_and_passes_on_the_others():
    """A ping is answered, a release frees memory, freed memory is released; on_frame gets the rest in order."""
    async with linked() as (_, pipe, frames, _):
        load = FrameHeader(load=Load(queued=1))
        pipe.put(
            FrameHeader(ping=Ping(number=5)), FrameHeader(release=Release(offsets=[64, 128])), load, CANCEL
        )
        await eventually(lambda: "pong" in pipe.kinds)
        pong = next(frame.header.pong for frame in pipe.written if frame.header.HasField("pong"))
        assert pong.number == 5
        assert pipe.released == [64, 128]
        assert frames == [load, CANCEL]
        pipe.free([256])
        await eventually(lambda: "release" in pipe.kinds)


async def test_link_run_returns_none_after_a_goodbye_of_the_peer():
    """Frames behind it are not read, and nothing can be sent any more."""
    async with linked() as (link, pipe, frames, running):
        pipe.put(FrameHeader(goodbye=Goodbye()), CANCEL)
        assert await running is None
        assert (frames, link.is_open, link.closed.is_set()) == ([], False, True)
        with pytest.raises(Unavailable, match="the stream to b is closed"):
            await link.send(Frame(CANCEL))
        with pytest.raises(Unavailable, match="the stream to b is closed"):
            link.try_send(Frame(CANCEL))
        link.send_soon(CANCEL)
        assert "cancel" not in pipe.kinds


async def test_link_run_returns_why_the_link_broke():
    """A stream that ends without a Goodbye, and one that is corrupt."""
    async with linked() as (_, pipe, _, running):
        pipe.incoming.put_nowait(None)
        error = await running
        assert isinstance(error, Unavailable)
        assert error.message == "the stream from b ended without a Goodbye"
    async with linked() as (_, pipe, _, running):
        pipe.incoming.put_nowait(b"\xff")
        assert isinstance(await running, CorruptData)


async def test_link_disconnect_sends_a_goodbye_after_queued_frames():
    """The link has ended in order once the peer ends the stream."""
    async with linked() as (link, pipe, _, running):
        link.send_soon(CANCEL)
        link.disconnect()
        assert not link.is_open
        await eventually(lambda: "goodbye" in pipe.kinds)
        assert pipe.kinds[-2:] == ["cancel", "goodbye"]
        pipe.incoming.put_nowait(None)
        assert await running is None


async def test_link_try_send_declines_frames_that_may_be_compressed():
    """One byte less than that is sent at once; `send` splits large frames into chunks."""

    def activation(size):
        return Frame(FrameHeader(activation=Activation()), (bytes(size),))

    async with linked() as (link, pipe, _, _):
        assert not link.try_send(activation(MIN_COMPRESSED_BYTES))
        assert link.try_send(activation(MIN_COMPRESSED_BYTES - 1))
        await link.send(activation(LIMITS.chunk_bytes + 1))
        await eventually(lambda: pipe.kinds.count("chunk") == 2)
        assert [kind for kind in pipe.kinds if kind != "ping"] == ["activation"] * 2 + ["chunk"] * 2
        assert isinstance(pipe.written[-1].header.chunk, Chunk)

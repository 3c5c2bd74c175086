"""The write side of a link."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic

import pytest

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.frame_writer import MAX_URGENT_FRAMES, FrameWriter, InterruptibleSleep
from onnxmesh.rpc.link_policy.heartbeat import Heartbeat
from onnxmesh.rpc.link_policy.link_estimator import LinkEstimator
from onnxmesh.rpc.link_policy.link_limits import LinkLimits
from onnxmesh.v1.frame_pb2 import Cancel, Chunk, FrameHeader, Pong
from tests.eventually import eventually
from tests.fakes.gated_pipe import GatedPipe

LIMITS = LinkLimits(chunk_bytes=100, high_water_bytes=250, idle_heartbeat_s=3600.0)
CANCEL = Frame(FrameHeader(cancel=Cancel()))
PONG = Frame(FrameHeader(pong=Pong()))


def chunk(num_bytes):
    return Frame(FrameHeader(chunk=Chunk()), (bytes(num_bytes),))


@asynccontextmanager
async def running(*, is_prompt=False, limits=LIMITS):
    """A writer that runs, its pipe and its task."""
    pipe = GatedPipe(is_prompt=is_prompt)
    writer = FrameWriter(
        pipe, Heartbeat(limits, monotonic()), LinkEstimator(), clock=monotonic, limits=limits
    )
    task = asyncio.ensure_future(writer.run())
    try:
        yield writer, pipe, task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def blocked(writer, pipe):
    """Has one message wait for flow control."""
    pipe.gate.clear()
    writer.put(CANCEL)
    await eventually(lambda: pipe.messages)


async def test_frame_writer_writes_frames_queued_during_a_write_together():
    """One message for all that fits into it, the next for the rest."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        for num_bytes in (40, 60, 1):
            writer.put(chunk(num_bytes))
        pipe.gate.set()
        await eventually(lambda: pipe.kinds == [["cancel"], ["chunk", "chunk"], ["chunk"]])
        assert writer.is_empty
        assert writer.num_bytes == sum(map(len, pipe.messages))


async def test_frame_writer_writes_a_frame_larger_than_a_chunk_alone():
    """A message holds one frame at the least, whatever its size."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        for num_bytes in (500, 0):
            writer.put(chunk(num_bytes))
        pipe.gate.set()
        await eventually(lambda: pipe.kinds == [["cancel"], ["chunk"], ["chunk"]])


async def test_frame_writer_writes_pongs_ahead_of_queued_frames():
    """In a message of their own."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        writer.put(chunk(10))
        writer.put_urgent(PONG)
        pipe.gate.set()
        await eventually(lambda: pipe.kinds == [["cancel"], ["pong"], ["chunk"]])


async def test_frame_writer_bounds_the_pongs_to_a_peer_that_only_pings():
    """Answers that wait are so many at the most."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        for _ in range(2 * MAX_URGENT_FRAMES):
            writer.put_urgent(PONG)
        pipe.gate.set()
        await eventually(lambda: len(pipe.messages) == 2)
        assert pipe.kinds[1] == ["pong"] * MAX_URGENT_FRAMES


async def test_frame_writer_has_no_capacity_above_its_high_water_mark():
    """There is again once enough was written."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        for _ in range(3):
            assert writer.has_capacity
            writer.put(chunk(100))
        assert not writer.has_capacity
        pipe.gate.set()
        async with asyncio.timeout(60):
            await writer.wait_for_capacity()


async def test_frame_writer_close_drops_the_queue_and_wakes_waiters():
    """Waiters continue, and the queue is empty."""
    async with running() as (writer, pipe, _):
        await blocked(writer, pipe)
        writer.put(chunk(1000))
        waiting = asyncio.ensure_future(writer.wait_for_capacity())
        writer.close()
        async with asyncio.timeout(60):
            await waiting
        assert writer.is_empty


async def test_frame_writer_ends_after_its_goodbye():
    """It comes after everything that was queued, and ends the writer."""
    async with running() as (writer, pipe, task):
        await blocked(writer, pipe)
        writer.put(CANCEL)
        assert not writer.is_disconnecting
        writer.disconnect()
        assert writer.is_disconnecting
        pipe.gate.set()
        async with asyncio.timeout(60):
            await task
        assert pipe.kinds == [["cancel"], ["cancel", "goodbye"]]


@pytest.mark.parametrize("is_prompt", [False, True])
async def test_frame_writer_writes_heartbeats_while_nothing_is_queued(is_prompt):
    """By empty messages."""
    async with running(is_prompt=is_prompt, limits=LinkLimits(idle_heartbeat_s=0.001)) as (_, pipe, _):
        await eventually(lambda: pipe.messages == [b""] * len(pipe.messages) and len(pipe.messages) >= 3)


async def test_frame_writer_writes_single_frames_at_once():
    """On a prompt pipe, before the call returns."""
    async with running(is_prompt=True) as (writer, pipe, _):
        for num in (1, 2, 3):
            writer.put(CANCEL)
            assert len(pipe.messages) == num
            await asyncio.sleep(0)


async def test_frame_writer_coalesces_bursts_of_one_iteration():
    """On a prompt pipe: at its end."""
    async with running(is_prompt=True) as (writer, pipe, _):
        for _ in range(2):
            for _ in range(3):
                writer.put(CANCEL)
            await asyncio.sleep(0)
        assert pipe.kinds == [["cancel"], ["cancel"] * 2, ["cancel"] * 3]


async def test_frame_writer_waits_for_a_pipe_without_capacity():
    """Frames that are queued meanwhile are written once it has capacity."""
    async with running(is_prompt=True) as (writer, pipe, _):
        await blocked(writer, pipe)
        for _ in range(2):
            writer.put(CANCEL)
            await asyncio.sleep(0)
        assert pipe.kinds == [["cancel"]]
        pipe.gate.set()
        await eventually(lambda: pipe.kinds == [["cancel"], ["cancel"] * 2])


async def test_interruptible_sleep_ends_when_it_is_interrupted():
    """However long it was to be; without a sleep an interruption does nothing."""
    sleep = InterruptibleSleep()
    sleep.interrupt()
    asyncio.get_running_loop().call_soon(sleep.interrupt)
    async with asyncio.timeout(60):
        await sleep.sleep(3600.0)
    sleep.interrupt()


async def test_interruptible_sleep_ends_after_its_time():
    """And can be used again."""
    sleep = InterruptibleSleep()
    async with asyncio.timeout(60):
        for _ in range(3):
            await sleep.sleep(0.001)

"""Pending parts of a running stage with direct inputs: joined, expired, dropped or refused."""

from __future__ import annotations

import asyncio
import gc
import weakref

import numpy as np
import pytest

from onnxmesh.errors import CorruptData, Overloaded
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.running_stage import joining, running
from tests.unit.worker.stage_requests import direct_part, main_part, request


@pytest.mark.parametrize("order", [(main_part, direct_part), (direct_part, main_part)])
async def test_pending_parts_run_a_request_once_both_parts_are_here(order):
    """Until then the first counts as in-flight bytes and keeps the stage from being idle, but is not queued."""
    async with joining() as stage:
        first, second = (make(1) for make in order)
        stage.runner.submit(first)
        assert stage.runner.in_flight_bytes == first.num_bytes
        assert stage.runner.num_queued == 0
        assert not stage.runner.is_idle
        stage.now_s = 2.0
        object.__setattr__(second, "arrived_s", 2.0)
        stage.runner.submit(second)
        assert stage.runner.in_flight_bytes == 11
        await stage.settled()
        assert stage.session.runs == [b"1234"]
        (frame,) = stage.link.frames
        (timing,) = frame.header.result.timings
        assert timing.queue_ns == 0
        assert timing.wire_ns == 5
        assert stage.counts == (1, 0, 0)


async def test_pending_parts_are_refused_together_at_a_full_queue():
    """Neither stays."""
    async with joining(GatedSession(), queue_size=1) as stage:
        for number in (1, 2):
            stage.runner.submit(direct_part(number))
            stage.runner.submit(main_part(number))
            await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(direct_part(3))
        with pytest.raises(Overloaded, match="1 requests are queued for m/1/1 already"):
            stage.runner.submit(main_part(3))
        stage.session.release(2)
        await stage.settled()
        assert stage.counts == (2, 0, 0)


async def test_pending_parts_beyond_the_limit_are_refused_with_a_retry_delay():
    """Pending ones stay."""
    async with joining(queue_size=1) as stage:
        stage.runner.submit(direct_part(1))
        stage.runner.submit(direct_part(2))
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason, failure.retriable) == (2, "OVERLOADED", True)
        assert failure.retry_after_ms > 0
        stage.runner.submit(main_part(1))
        await stage.settled()
        assert stage.counts == (1, 0, 1)


async def test_pending_parts_refuse_a_direct_part_at_a_stage_without_direct_inputs():
    """Requests of that stage go on."""
    async with running(GatedSession(opened=True)) as stage:
        stage.runner.submit(direct_part(1))
        stage.runner.submit(request(2, stages=("m/1/0",)))
        await stage.settled()
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason) == (1, CorruptData.reason)
        assert stage.counts == (1, 0, 1)


@pytest.mark.parametrize("make", [main_part, direct_part])
@pytest.mark.parametrize("end", ["cancelled", "gateway lost", "new link", "evicted", "newer attempt"])
async def test_pending_parts_keep_nothing_of_a_part_whose_other_never_arrives(make, end):
    """However it ends, its tensors are released without garbage collection."""
    async with joining() as stage:
        array = np.zeros(1000, np.uint8)
        released = weakref.ref(array)
        gc.collect()
        gc.disable()
        try:
            stage.runner.submit(make(1, array.data))
            del array
            if end == "cancelled":
                stage.cancel(1)
            elif end == "gateway lost":
                stage.runner.drop_gateway("gateway")
            elif end == "new link":
                stage.runner.drop_parts("gateway")
            elif end == "evicted":
                stage.runner.refuse_parts()
            else:
                stage.runner.submit(direct_part(1, attempt=1))
                stage.runner.submit(main_part(1, attempt=1))
            await stage.settled()
            await eventually(lambda: released() is None)
        finally:
            gc.enable()
        reasons = [failure.reason for failure in stage.link.failures]
        assert reasons == (["STAGE_GONE"] if end == "evicted" else [])
        assert stage.counts == (int(end == "newer attempt"), int(end != "evicted"), int(end == "evicted"))


async def test_pending_parts_expire_at_their_deadline():
    """By a timer, though nothing else happens at the stage; those with later deadlines stay."""
    async with joining(clock=asyncio.get_running_loop().time) as stage:
        now_s = asyncio.get_running_loop().time()
        stage.runner.submit(direct_part(1, at_s=now_s + 600))
        stage.runner.submit(direct_part(2, at_s=now_s + 0.05))
        stage.runner.submit(main_part(3, at_s=now_s + 0.02))
        stage.runner.submit(direct_part(4))
        await eventually(lambda: len(stage.link.failures) == 2)
        assert {failure.key.number for failure in stage.link.failures} == {2, 3}
        assert {failure.reason for failure in stage.link.failures} == {"DEADLINE_EXCEEDED"}
        assert stage.counts == (0, 2, 0)
        stage.runner.submit(main_part(1))
        stage.runner.submit(main_part(4))
        await stage.settled()
        assert stage.counts == (2, 2, 0)


async def test_pending_parts_drop_a_main_part_of_a_disconnected_gateway():
    """No direct part can arrive, and no answer could be sent."""
    async with joining() as stage:
        stage.link = None
        stage.runner.submit(main_part(1))
        await stage.settled()
        assert stage.counts == (0, 1, 0)


async def test_pending_parts_delay_draining_until_the_other_part_arrives():
    """A request that other stages have worked on is finished here."""
    async with joining() as stage:
        stage.runner.submit(direct_part(1))
        drained = asyncio.ensure_future(stage.runner.wait_idle())
        await asyncio.sleep(0)
        assert not drained.done()
        stage.runner.submit(main_part(1))
        await asyncio.wait_for(drained, 300)
        assert stage.counts == (1, 0, 0)


async def test_pending_parts_fail_when_the_stage_ends():
    """As queued requests do."""
    async with joining() as stage:
        stage.runner.submit(direct_part(1))
        stage.runner.submit(main_part(2))
        await asyncio.sleep(0)
    assert [(f.key.number, f.reason) for f in stage.link.failures] == [(1, "STAGE_GONE"), (2, "STAGE_GONE")]
    assert stage.runner.in_flight_bytes == 0
    assert stage.counts == (0, 0, 2)

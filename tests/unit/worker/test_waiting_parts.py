"""A stage with direct inputs at work: parts come, wait, meet, and end, with a model that waits for the test."""

from __future__ import annotations

import asyncio
import gc
import weakref

import numpy as np
import pytest

from onnxmesh.errors import CorruptData, Overloaded
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.stage_requests import request, tensor
from tests.unit.worker.test_stage_runner import running

STAGES = ("m/1/0", "m/1/1")


def joining(session=None, **more):
    return running(session or GatedSession(opened=True), direct=("u",), **more)


def main(number, data=b"1234", **more):
    return request(number, stages=STAGES, hop=1, tensors={"x": tensor("x", data)}, **more)


def direct(number, data=b"1234567", **more):
    tensors = {"u": tensor("u", data)}
    return request(number, stages=STAGES, hop=1, tensors=tensors, direct=True, **more)


@pytest.mark.parametrize("order", [(main, direct), (direct, main)])
async def test_a_stage_runs_once_both_parts_are_there(order):
    """Until then the first one is in the load's bytes and keeps the stage from being idle, but it queues for nothing."""
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


async def test_parts_that_meet_at_a_full_queue_are_refused_together():
    """Neither is left."""
    async with joining(GatedSession(), queue_size=1) as stage:
        for number in (1, 2):
            stage.runner.submit(direct(number))
            stage.runner.submit(main(number))
            await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(direct(3))
        with pytest.raises(Overloaded, match="1 requests wait for m/1/1 already"):
            stage.runner.submit(main(3))
        stage.session.release(2)
        await stage.settled()
        assert stage.counts == (2, 0, 0)


async def test_parts_beyond_the_bound_are_refused_and_their_origin_told_when_to_come_back():
    """Those that wait are not disturbed."""
    async with joining(queue_size=1) as stage:
        stage.runner.submit(direct(1))
        stage.runner.submit(direct(2))
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason, failure.retriable) == (2, "OVERLOADED", True)
        assert failure.retry_after_ms > 0
        stage.runner.submit(main(1))
        await stage.settled()
        assert stage.counts == (1, 0, 1)


async def test_a_direct_part_for_a_stage_that_has_no_direct_inputs_is_refused():
    """Requests of that stage go on."""
    async with running(GatedSession(opened=True)) as stage:
        stage.runner.submit(direct(1))
        stage.runner.submit(request(2, stages=("m/1/0",)))
        await stage.settled()
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason) == (1, CorruptData.reason)
        assert stage.counts == (1, 0, 1)


@pytest.mark.parametrize("make", [main, direct])
@pytest.mark.parametrize("end", ["cancelled", "gateway lost", "new link", "let go", "newer attempt"])
async def test_a_part_whose_other_never_comes_leaves_nothing(make, end):
    """However it ends, and nothing keeps its tensors, without waiting for the collector of cycles."""
    async with joining() as stage:
        array = np.zeros(1000, np.uint8)
        gone = weakref.ref(array)
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
            elif end == "let go":
                stage.runner.refuse_parts()
            else:
                stage.runner.submit(direct(1, attempt=1))
                stage.runner.submit(main(1, attempt=1))
            await stage.settled()
            await eventually(lambda: gone() is None)
        finally:
            gc.enable()
        told = [failure.reason for failure in stage.link.failures]
        assert told == (["STAGE_GONE"] if end == "let go" else [])
        assert stage.counts == (int(end == "newer attempt"), int(end != "let go"), int(end == "let go"))


async def test_a_part_ends_at_its_deadline():
    """By a timer: nothing else happens at the stage. Its origin is told; those with later deadlines stay."""
    async with joining(clock=asyncio.get_running_loop().time) as stage:
        now_s = asyncio.get_running_loop().time()
        stage.runner.submit(direct(1, at_s=now_s + 600))
        stage.runner.submit(direct(2, at_s=now_s + 0.05))
        stage.runner.submit(main(3, at_s=now_s + 0.02))
        stage.runner.submit(direct(4))
        await eventually(lambda: len(stage.link.failures) == 2)
        assert {failure.key.number for failure in stage.link.failures} == {2, 3}
        assert {failure.reason for failure in stage.link.failures} == {"DEADLINE_EXCEEDED"}
        assert stage.counts == (0, 2, 0)
        stage.runner.submit(main(1))
        stage.runner.submit(main(4))
        await stage.settled()
        assert stage.counts == (2, 2, 0)


async def test_a_main_part_whose_gateway_has_no_link_is_dropped():
    """No direct part can come, and nobody would take the answer."""
    async with joining() as stage:
        stage.link = None
        stage.runner.submit(main(1))
        await stage.settled()
        assert stage.counts == (0, 1, 0)


async def test_draining_waits_for_the_other_part():
    """A request that is under way elsewhere is finished here."""
    async with joining() as stage:
        stage.runner.submit(direct(1))
        drained = asyncio.ensure_future(stage.runner.wait_idle())
        await asyncio.sleep(0)
        assert not drained.done()
        stage.runner.submit(main(1))
        await asyncio.wait_for(drained, 10)
        assert stage.counts == (1, 0, 0)


async def test_a_stage_that_ends_tells_those_whose_other_part_is_missing():
    """As it tells all who wait."""
    async with joining() as stage:
        stage.runner.submit(direct(1))
        stage.runner.submit(main(2))
        await asyncio.sleep(0)
    assert [(f.key.number, f.reason) for f in stage.link.failures] == [(1, "STAGE_GONE"), (2, "STAGE_GONE")]
    assert stage.runner.in_flight_bytes == 0
    assert stage.counts == (0, 0, 2)

"""A worker that is to be emptied, and a scheduler that empties it."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.eventually import eventually
from tests.fakes.commanding_scheduler import commanding
from tests.integration.worker.stage_models import wide

X = {"x": np.ones(4, np.float32)}


def says(scheduler):
    """What a worker has said of its leaving: whether it leaves, in order."""
    return [not event.undone for event in scheduler.of("leaving")]


async def test_a_worker_that_stops_says_so_and_serves_until_it_is_emptied(bench):
    """Only then are schedulers told that it drains; it goes by itself after its last stage."""
    worker = await bench.worker("a")
    worker.scheduler.lets_depart = False
    route = await bench.pipeline(wide(), [], worker)
    gateway = await bench.gateway()
    stopping = asyncio.ensure_future(worker.stop())
    await eventually(lambda: says(worker.scheduler) == [True])
    await gateway.answer(await gateway.send(route, X))
    assert not worker.scheduler.of("draining")
    await worker.scheduler.evict("m/1/0")
    await stopping
    await eventually(lambda: worker.scheduler.of("draining"))


async def test_what_still_comes_for_a_stage_that_went_is_refused_and_may_be_tried_elsewhere(bench):
    worker = await bench.worker("a")
    route = await bench.pipeline(wide(), [], worker)
    gateway = await bench.gateway()
    await worker.scheduler.evict("m/1/0")
    await worker.scheduler.wait_for("stage_evicted")
    failure = await gateway.failure(await gateway.send(route, X))
    assert (failure.reason, failure.retriable) == ("STAGE_GONE", True)


async def test_a_worker_that_may_depart_goes_with_what_it_holds(bench):
    """As it does when its time is over."""
    for name, told in (("a", True), ("b", False)):
        worker = await bench.worker(name, drain_s=600.0 if told else 0.05)
        worker.scheduler.lets_depart = told
        await bench.pipeline(wide(), [], worker)
        async with asyncio.timeout(60):
            await worker.stop()


async def test_a_worker_that_nobody_commands_waits_for_nobody(bench):
    worker = await bench.worker("a", drain_s=600.0)
    await bench.pipeline(wide(), [], worker)
    await worker.scheduler.end_stream()
    await eventually(worker.scheduler.ended.is_set)
    async with asyncio.timeout(60):
        await worker.stop()


async def test_a_drained_worker_keeps_the_mark_for_the_next_scheduler_until_it_is_undone(bench):
    """It stays where it is meanwhile, also when it is told that nothing is moved off it; older schedulers are refused."""
    worker = await bench.worker("a")
    await worker.scheduler.drain()
    await eventually(lambda: says(worker.scheduler) == [True])
    async with commanding(worker.address, epoch=2) as newer:
        await eventually(lambda: newer.events)
        assert newer.events[0].holding.leaving
        await newer.depart()
        await newer.drain(undo=True)
        await eventually(lambda: says(newer) == [False])
        await worker.scheduler.drain(epoch=1)
        await worker.scheduler.evict("none/1/0", epoch=1)
        await worker.scheduler.wait_for("stage_failed")
        assert says(newer) == [False]
    async with commanding(worker.address, epoch=3) as newest:
        await eventually(lambda: newest.events)
        assert not newest.events[0].holding.leaving


async def test_a_drain_is_not_undone_at_a_worker_that_stops(bench):
    worker = await bench.worker("a")
    worker.scheduler.lets_depart = False
    await bench.pipeline(wide(), [], worker)
    stopping = asyncio.ensure_future(worker.stop())
    await eventually(lambda: says(worker.scheduler) == [True])
    await worker.scheduler.drain(undo=True)
    await eventually(lambda: says(worker.scheduler) == [True, True])
    await worker.scheduler.depart()
    await stopping

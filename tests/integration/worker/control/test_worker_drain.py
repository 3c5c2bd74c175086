"""The drain of a real worker, with a scheduler that evicts its stages."""

from __future__ import annotations

import asyncio

import numpy as np

from tests.eventually import eventually
from tests.fakes.commanding_scheduler import commanding
from tests.integration.worker.stage_models import wide

X = {"x": np.ones(4, np.float32)}


def leaving_events(scheduler):
    """Returns for each Leaving event whether the worker leaves."""
    return [not event.undone for event in scheduler.of("leaving")]


async def test_worker_drain_serves_until_the_last_stage_is_evicted(bench):
    """Draining is published only then; it stops by itself after its last stage."""
    worker = await bench.worker("a")
    worker.scheduler.lets_depart = False
    route = await bench.pipeline(wide(), [], worker)
    gateway = await bench.gateway()
    stopping = asyncio.ensure_future(worker.stop())
    await eventually(lambda: leaving_events(worker.scheduler) == [True])
    await gateway.answer(await gateway.send(route, X))
    assert not worker.scheduler.of("draining")
    await worker.scheduler.evict("m/1/0")
    await stopping
    await eventually(lambda: worker.scheduler.of("draining"))


async def test_worker_drain_makes_requests_for_evicted_stages_retriable(bench):
    worker = await bench.worker("a")
    route = await bench.pipeline(wide(), [], worker)
    gateway = await bench.gateway()
    await worker.scheduler.evict("m/1/0")
    await worker.scheduler.wait_for("stage_evicted")
    failure = await gateway.failure(await gateway.send(route, X))
    assert (failure.reason, failure.retriable) == ("STAGE_GONE", True)


async def test_worker_drain_ends_on_depart_or_time_out(bench):
    """With the stages that it still holds."""
    for name, departs in (("a", True), ("b", False)):
        worker = await bench.worker(name, drain_s=600.0 if departs else 0.05)
        worker.scheduler.lets_depart = departs
        await bench.pipeline(wide(), [], worker)
        async with asyncio.timeout(60):
            await worker.stop()


async def test_worker_drain_ends_at_once_without_a_scheduler(bench):
    worker = await bench.worker("a", drain_s=600.0)
    await bench.pipeline(wide(), [], worker)
    await worker.scheduler.end_stream()
    await eventually(worker.scheduler.ended.is_set)
    async with asyncio.timeout(60):
        await worker.stop()


async def test_worker_drain_is_kept_for_later_schedulers_until_undone(bench):
    """Its stages stay loaded meanwhile, also when the scheduler has nothing to move off it; older schedulers are refused."""
    worker = await bench.worker("a")
    await worker.scheduler.drain()
    await eventually(lambda: leaving_events(worker.scheduler) == [True])
    async with commanding(worker.address, epoch=2) as newer:
        await eventually(lambda: newer.events)
        assert newer.events[0].holding.leaving
        await newer.depart()
        await newer.drain(undo=True)
        await eventually(lambda: leaving_events(newer) == [False])
        await worker.scheduler.drain(epoch=1)
        await worker.scheduler.evict("none/1/0", epoch=1)
        await worker.scheduler.wait_for("stage_failed")
        assert leaving_events(newer) == [False]
    async with commanding(worker.address, epoch=3) as newest:
        await eventually(lambda: newest.events)
        assert not newest.events[0].holding.leaving


async def test_worker_drain_of_a_stopping_worker_cannot_be_undone(bench):
    worker = await bench.worker("a")
    worker.scheduler.lets_depart = False
    await bench.pipeline(wide(), [], worker)
    stopping = asyncio.ensure_future(worker.stop())
    await eventually(lambda: leaving_events(worker.scheduler) == [True])
    await worker.scheduler.drain(undo=True)
    await eventually(lambda: leaving_events(worker.scheduler) == [True, True])
    await worker.scheduler.depart()
    await stopping

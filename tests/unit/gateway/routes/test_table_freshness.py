"""When a route table counts as stale."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from services.gateway.routes.table_freshness import TableFreshness
from tests.eventually import eventually


class Bench:
    """A `TableFreshness` on a clock that a test advances, with its recorded changes."""

    def __init__(self, grace_s):
        self.now_s = 50.0
        self.changes = []
        self.freshness = TableFreshness(self._record, grace_s=grace_s, clock=lambda: self.now_s)

    async def _record(self, fresh):
        self.changes.append(fresh)

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.freshness.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_table_is_stale_until_a_scheduler_is_followed():
    """The time without a scheduler is reported, and is 0 once one is followed."""
    async with Bench(grace_s=0.01).running() as bench:
        assert bench.freshness.is_stale
        bench.now_s += 7.0
        assert bench.freshness.without_scheduler_s == 7.0
        bench.freshness.stream_followed()
        await eventually(lambda: bench.changes == [True])
        assert not bench.freshness.is_stale
        assert bench.freshness.without_scheduler_s == 0.0


async def test_table_becomes_stale_after_the_grace_period_and_fresh_with_another_scheduler():
    """Each change is reported once, however often the loss is noticed."""
    async with Bench(grace_s=0.01).running() as bench:
        bench.freshness.stream_followed()
        await eventually(lambda: bench.changes == [True])
        bench.freshness.stream_lost()
        bench.now_s += 5.0
        bench.freshness.stream_lost()
        await eventually(lambda: bench.changes == [True, False])
        assert bench.freshness.without_scheduler_s == 5.0
        bench.freshness.stream_followed()
        await eventually(lambda: bench.changes == [True, False, True])


async def test_table_stays_fresh_where_a_scheduler_is_replaced_within_the_grace_period():
    """Another one is found within the grace, which here never ends."""
    async with Bench(grace_s=1000.0).running() as bench:
        bench.freshness.stream_followed()
        await eventually(lambda: bench.changes == [True])
        for _ in range(3):
            bench.freshness.stream_lost()
            bench.now_s += 500.0
            await asyncio.sleep(0)
            bench.freshness.stream_followed()
            await asyncio.sleep(0)
        assert bench.changes == [True]

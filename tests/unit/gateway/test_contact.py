"""When a route table counts as stale."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from services.gateway.routes.scheduler_contact import SchedulerContact
from tests.eventually import eventually


class Bench:
    """A contact on a clock that a test turns, and what it has said."""

    def __init__(self, grace_s):
        self.now_s = 50.0
        self.said = []
        self.contact = SchedulerContact(self._say, grace_s=grace_s, clock=lambda: self.now_s)

    async def _say(self, followed):
        self.said.append(followed)

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.contact.run())
        await asyncio.sleep(0)
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_a_gateway_without_a_table_has_a_stale_one():
    """Until a scheduler is followed; how long that took is told."""
    async with Bench(grace_s=0.01).running() as bench:
        assert bench.contact.is_stale
        bench.now_s += 7.0
        assert bench.contact.alone_s == 7.0
        bench.contact.made()
        await eventually(lambda: bench.said == [True])
        assert not bench.contact.is_stale
        assert bench.contact.alone_s == 0.0


async def test_a_lost_scheduler_makes_it_stale_after_a_moment_and_another_one_fresh():
    """Said once each, however often the loss is noticed."""
    async with Bench(grace_s=0.01).running() as bench:
        bench.contact.made()
        await eventually(lambda: bench.said == [True])
        bench.contact.lost()
        bench.now_s += 5.0
        bench.contact.lost()
        await eventually(lambda: bench.said == [True, False])
        assert bench.contact.alone_s == 5.0
        bench.contact.made()
        await eventually(lambda: bench.said == [True, False, True])


async def test_a_scheduler_that_is_replaced_in_time_is_no_news():
    """Another one is found within the grace, which here never ends."""
    async with Bench(grace_s=1000.0).running() as bench:
        bench.contact.made()
        await eventually(lambda: bench.said == [True])
        for _ in range(3):
            bench.contact.lost()
            bench.now_s += 500.0
            await asyncio.sleep(0)
            bench.contact.made()
            await asyncio.sleep(0)
        assert bench.said == [True]

"""Changes that are made one after the other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from onnxmesh.errors import Conflict, Unavailable
from onnxmesh.state.change_queue import ChangeQueue
from tests.eventually import eventually


class Changes:
    """Makes changes that wait for `gate`."""

    def __init__(self):
        self.queue = ChangeQueue()
        self.gate = asyncio.Event()
        self.made = []

    @asynccontextmanager
    async def running(self):
        task = asyncio.ensure_future(self.queue.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def change(self, name):
        async def make():
            self.made.append(f"{name} begins")
            await self.gate.wait()
            self.made.append(f"{name} is made")

        return make


async def test_queue_makes_changes_in_the_order_of_submission():
    """The next begins when the one before is made."""
    changes = Changes()
    async with changes.running(), asyncio.timeout(60):
        callers = [asyncio.ensure_future(changes.queue.submit(changes.change(name))) for name in "ab"]
        await eventually(lambda: changes.made == ["a begins"])
        changes.gate.set()
        await asyncio.gather(*callers)
    assert changes.made == ["a begins", "a is made", "b begins", "b is made"]


async def test_queue_makes_a_change_whose_caller_was_cancelled():
    """A change that has begun is never left half made."""
    changes = Changes()
    async with changes.running():
        caller = asyncio.ensure_future(changes.queue.submit(changes.change("a")))
        await eventually(lambda: changes.made == ["a begins"])
        caller.cancel()
        changes.gate.set()
        await eventually(lambda: changes.made == ["a begins", "a is made"])


async def test_queue_continues_after_a_failed_change():
    """The error is raised at its caller, if that still waits."""

    async def refuse():
        raise Conflict("another one leads")

    changes = Changes()
    changes.gate.set()
    async with changes.running(), asyncio.timeout(60):
        changes.queue.submit_nowait(refuse)
        with pytest.raises(Conflict, match="another one leads"):
            await changes.queue.submit(refuse)
        await changes.queue.submit(changes.change("a"))
    assert changes.made == ["a begins", "a is made"]


async def test_queue_refuses_waiting_changes_when_it_stops():
    """It is not made, and its caller gets an error."""
    changes = Changes()
    async with changes.running():
        changes.queue.submit_nowait(changes.change("a"))
        caller = asyncio.ensure_future(changes.queue.submit(changes.change("b")))
        await eventually(lambda: changes.made == ["a begins"])
    with pytest.raises(Unavailable, match="the change was not made"):
        await caller
    assert changes.made == ["a begins"]

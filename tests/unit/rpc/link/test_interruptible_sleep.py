"""Sleeps that end early, or by themselves."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link.interruptible_sleep import InterruptibleSleep


async def test_a_nap_ends_when_it_is_told_to():
    """However long it was to be; ended again, or without one, it does nothing."""
    sleep = InterruptibleSleep()
    sleep.interrupt()
    asyncio.get_running_loop().call_soon(sleep.interrupt)
    async with asyncio.timeout(60):
        await sleep.sleep(3600.0)
    sleep.interrupt()


async def test_a_nap_ends_by_itself():
    """And can be taken again."""
    sleep = InterruptibleSleep()
    async with asyncio.timeout(60):
        for _ in range(3):
            await sleep.sleep(0.001)

"""Sleeps that end early, or by themselves."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link.interruptible_sleep import InterruptibleSleep


async def test_a_nap_ends_when_it_is_told_to():
    """However long it was to be; ended again, or without one, it does nothing."""
    nap = InterruptibleSleep()
    nap.end()
    asyncio.get_running_loop().call_soon(nap.end)
    async with asyncio.timeout(60):
        await nap.take(3600.0)
    nap.end()


async def test_a_nap_ends_by_itself():
    """And can be taken again."""
    nap = InterruptibleSleep()
    async with asyncio.timeout(60):
        for _ in range(3):
            await nap.take(0.001)

"""Write coalescing."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.rpc.link.write_coalescer import WriteCoalescer


async def written(bursts, *, is_over=True):
    """Returns how many items each write had, where each iteration of the event loop has a burst of so many."""
    waiting, writes = [], []

    def flush():
        if waiting:
            writes.append(len(waiting))
            waiting.clear()

    coalescer = WriteCoalescer(asyncio.get_running_loop())
    for num_items in bursts:
        for _ in range(num_items):
            waiting.append("item")
            coalescer.schedule(flush)
        if is_over or num_items != bursts[-1]:
            await asyncio.sleep(0)
    return writes


async def test_write_coalescer_writes_single_items_at_once():
    """Each by itself, before its iteration ends."""
    assert await written([1]) == [1]
    assert await written([1], is_over=False) == [1]
    assert await written([1, 1, 1]) == [1, 1, 1]


@pytest.mark.parametrize("num", [2, 3, 7])
async def test_write_coalescer_writes_bursts_together_from_the_second_on(num):
    """Of the first burst the first item is written at once: nothing predicted the others."""
    assert await written([num, num, 4]) == [1, num - 1, num, 4]


async def test_write_coalescer_delays_one_item_after_a_burst():
    """It is written at the end of its iteration; those after it are written at once again."""
    assert await written([3, 1], is_over=False) == [1, 2]
    assert await written([3, 1, 1]) == [1, 2, 1, 1]

"""What is written at once, and what waits for the end of a turn."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link.write_coalescer import WriteCoalescer


async def written(turns):
    """Returns what is written together, of pieces that come in turns of so many."""
    waiting, writes = [], []

    def flush():
        if waiting:
            writes.append(len(waiting))
            waiting.clear()

    turn = WriteCoalescer(asyncio.get_running_loop())
    for num in turns:
        for _ in range(num):
            waiting.append("piece")
            turn.came(flush)
        await asyncio.sleep(0)
    return writes


async def test_what_comes_alone_is_written_at_once():
    """Each piece by itself, without waiting for the turn to end."""
    assert await written([1, 1, 1]) == [1, 1, 1]


async def test_a_crowd_is_written_together_from_the_second_turn_on():
    """Of the first turn, the first piece leaves at once, for nobody knew of the others."""
    assert await written([3, 3, 4]) == [1, 2, 3, 4]


async def test_a_crowd_that_is_over_delays_one_turn():
    """After that, what comes alone is written at once again."""
    assert await written([3, 1, 1]) == [1, 2, 1, 1]

"""The one thread of a stage."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import numpy as np
import pytest

from services.worker.stages.stage_thread import StageThread
from tests.eventually import eventually


def named(name):
    return [thread for thread in threading.enumerate() if thread.name == name]


async def test_work_is_done_in_one_thread_in_order_and_what_it_raises_is_raised():
    """Not in that of the event loop; the thread ends when it is closed."""
    thread = StageThread("one")
    seen = []
    await asyncio.gather(
        *(thread.run(lambda n=n: seen.append((n, threading.get_ident()))) for n in range(20))
    )
    assert [number for number, _ in seen] == list(range(20))
    assert len({ident for _, ident in seen}) == 1
    assert seen[0][1] != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert await thread.run(lambda: 7) == 7
    thread.close()
    await eventually(lambda: not named("one"))


async def test_a_thread_that_had_nothing_to_do_was_never_there():
    """So that nothing has to end it."""
    thread = StageThread("none")
    thread.close()
    assert not named("none")


async def test_who_does_not_wait_any_more_is_not_told():
    """The work is done to its end, and the next is done after it."""
    thread = StageThread("waits")
    begun, gate = threading.Event(), threading.Event()

    def work():
        begun.set()
        assert gate.wait(30)

    task = asyncio.create_task(thread.run(work))
    await eventually(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    assert await thread.run(lambda: "next") == "next"
    thread.close()


async def test_nothing_that_was_done_is_kept():
    """Neither the work nor its result, while the thread waits for more."""
    thread = StageThread("keeps")
    array = np.zeros(10)
    gone = weakref.ref(array)
    gc.disable()
    try:
        await thread.run(lambda array=array: [array])
        del array
        await eventually(lambda: gone() is None)
    finally:
        gc.enable()
        thread.close()


def test_a_loop_that_is_gone_ends_the_thread():
    """What was under way then ends in silence."""
    thread, gate = StageThread("late"), threading.Event()

    async def begin():
        task = asyncio.create_task(thread.run(lambda: gate.wait(30)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(begin())
    gate.set()
    asyncio.run(eventually(lambda: not named("late")))

"""The thread of a stage."""

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


async def test_stage_thread_runs_functions_in_order_and_raises_their_exceptions():
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


async def test_stage_thread_without_work_never_starts():
    """So nothing has to end it."""
    thread = StageThread("none")
    thread.close()
    assert not named("none")


async def test_stage_thread_finishes_the_function_of_a_cancelled_caller():
    """The next function runs after it."""
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


async def test_stage_thread_keeps_neither_function_nor_result():
    """While the thread waits for more."""
    thread = StageThread("keeps")
    array = np.zeros(10)
    released = weakref.ref(array)
    gc.disable()
    try:
        await thread.run(lambda array=array: [array])
        del array
        await eventually(lambda: released() is None)
    finally:
        gc.enable()
        thread.close()


def test_stage_thread_ends_with_its_event_loop():
    """The outcome of the running function is discarded."""
    thread, gate = StageThread("late"), threading.Event()

    async def begin():
        task = asyncio.create_task(thread.run(lambda: gate.wait(30)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(begin())
    gate.set()
    asyncio.run(eventually(lambda: not named("late")))

"""Blocking functions run in a thread and finish before a cancelled caller continues."""

from __future__ import annotations

import asyncio
import threading

import pytest

from onnxmesh.store.threads import in_thread


async def test_in_thread_returns_the_result_of_another_thread():
    assert await in_thread(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 1, 0)


async def test_in_thread_lets_the_function_finish_before_a_cancelled_caller_continues():
    started, release, done = threading.Event(), threading.Event(), []

    def work():
        started.set()
        release.wait()
        done.append("done")
        raise ValueError("not reported: the caller was cancelled")

    task = asyncio.ensure_future(in_thread(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["done"]

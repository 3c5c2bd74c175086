"""The one thread in which a stage runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class StageThread(Generic[T]):
    """Does one thing after another in a thread of its own, and hands each result back to the event loop.

    An executor's futures, which any thread may wait for, cost twice the processor time. The thread starts with the
    first thing to do; whoever had one done must `close` it. It belongs to one event loop.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], T], asyncio.Future[T]] | None] = SimpleQueue()
        self._started = False

    async def do(self, work: Callable[[], T]) -> T:
        """Returns what `work` does; cancelling this does not end it."""
        loop = asyncio.get_running_loop()
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, args=(loop,), name=self._name).start()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, done))
        return await done

    def close(self) -> None:
        """Ends the thread once it has done what it is doing."""
        if self._started:
            self._jobs.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                hand_back = _handing_back(done, work())
            except Exception as error:  # noqa: BLE001 - whatever it is, who asked for the work is told
                hand_back = _raising(done, error)
            # Nothing here may keep a request alive until the next one comes.
            del job, work, done
            try:
                loop.call_soon_threadsafe(hand_back)
            except RuntimeError:  # the loop is closed: nobody waits any more
                return
            del hand_back


def _handing_back(done: asyncio.Future[T], result: T) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_result(result)


def _raising(done: asyncio.Future[T], error: Exception) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_exception(error)

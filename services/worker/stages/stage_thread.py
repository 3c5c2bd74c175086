"""Thread of a stage: runs one function after another beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class StageThread(Generic[T]):
    """Runs functions in a thread of its own, in order, and returns their results to one event loop.

    A `ThreadPoolExecutor` costs twice the processor time, because any thread may wait for its futures. The thread
    starts with the first function; after that, `close` must be called.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], T], asyncio.Future[T]] | None] = SimpleQueue()
        self._started = False

    async def run(self, work: Callable[[], T]) -> T:
        """Runs a function and returns its result; cancelling this does not end the function."""
        loop = asyncio.get_running_loop()
        if not self._started:
            self._started = True
            threading.Thread(target=self._loop, args=(loop,), name=self._name).start()
        done: asyncio.Future[T] = loop.create_future()
        self._jobs.put((work, done))
        return await done

    def close(self) -> None:
        """Ends the thread after the functions that it was given."""
        if self._started:
            self._jobs.put(None)

    def _loop(self, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            try:
                set_outcome = _result_setter(done, work())
            except Exception as error:  # noqa: BLE001 - every exception goes to the caller
                set_outcome = _exception_setter(done, error)
            # No reference here may keep a request alive until the next one arrives.
            del job, work, done
            try:
                loop.call_soon_threadsafe(set_outcome)
            except RuntimeError:  # the event loop is closed
                return
            del set_outcome


def _result_setter(done: asyncio.Future[T], result: T) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_result(result)


def _exception_setter(done: asyncio.Future[T], error: Exception) -> Callable[[], None]:
    return lambda: None if done.done() else done.set_exception(error)

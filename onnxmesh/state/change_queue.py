"""Queue of changes that are made one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from onnxmesh.errors import MeshError, Unavailable

Change = Callable[[], Awaitable[None]]
"""Makes a change; raises `MeshError` if it fails."""

_log = structlog.get_logger(__name__)


class ChangeQueue:
    """Makes changes in the order of submission, also those whose caller is cancelled meanwhile."""

    def __init__(self) -> None:
        self._changes: asyncio.Queue[tuple[Change, asyncio.Future[None] | None]] = asyncio.Queue()

    async def submit(self, change: Change) -> None:
        """Submits a change and returns when it is made.

        Raises:
            MeshError: The change failed.
            Unavailable: This process stopped before (UNAVAILABLE).
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changes.put_nowait((change, done))
        await done

    def submit_nowait(self, change: Change) -> None:
        """Submits a change without waiting for it; a failure is logged."""
        self._changes.put_nowait((change, None))

    async def run(self) -> None:
        """Makes changes until it is cancelled; changes that still wait then fail."""
        try:
            while True:
                change, done = await self._changes.get()
                try:
                    await change()
                except MeshError as error:
                    if done is None or done.done():  # its caller was cancelled
                        _log.warning("change_failed", error=error.message)
                    else:
                        done.set_exception(error)
                else:
                    if done is not None and not done.done():
                        done.set_result(None)
        finally:
            while not self._changes.empty():
                _, done = self._changes.get_nowait()
                if done is not None and not done.done():
                    done.set_exception(Unavailable("the scheduler stops: the change was not made"))

"""A sleep that another task can interrupt."""

from __future__ import annotations

import asyncio


class InterruptibleSleep:
    """Sleeps for one task at a time, until the time is over or `interrupt` is called. Belongs to one event loop."""

    def __init__(self) -> None:
        self._awake: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Returns after so many seconds, or at the next `interrupt`."""
        loop = asyncio.get_running_loop()
        self._awake = loop.create_future()
        handle = loop.call_later(seconds, self.interrupt)
        try:
            await self._awake
        finally:
            handle.cancel()
            self._awake = None

    def interrupt(self) -> None:
        """Ends the current sleep, if there is one."""
        if self._awake is not None and not self._awake.done():
            self._awake.set_result(None)

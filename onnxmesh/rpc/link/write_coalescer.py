"""What is written at once, and what waits for the end of a turn of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class WriteCoalescer:
    """Has what comes one by one written at once, and what comes in crowds together: a write costs more than what is in it.

    Whether this turn is one of a crowd is guessed by the last one.

    Args:
        loop: Whose turns they are.
    """

    __slots__ = ("_is_crowded", "_loop", "_num")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._num = 0
        self._is_crowded = False

    def came(self, flush: Callable[[], None]) -> None:
        """Takes that there is something more to write; has `flush` called for it, now or at the end of the turn."""
        self._num += 1
        if self._num == 1:
            self._loop.call_soon(self._end, flush)
            if not self._is_crowded:
                flush()

    def _end(self, flush: Callable[[], None]) -> None:
        self._is_crowded = self._num > 1
        self._num = 0
        flush()

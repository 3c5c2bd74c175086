"""Write coalescing: one write for everything that is ready in an iteration of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class WriteCoalescer:
    """Writes single items at once, and bursts together: a write costs more than what is in it.

    The last iteration of the event loop that had an item predicts whether this one has a burst.

    Args:
        loop: Event loop whose iterations are meant.
    """

    __slots__ = ("_is_burst_expected", "_loop", "_num_items")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._num_items = 0
        self._is_burst_expected = False

    def schedule(self, flush: Callable[[], None]) -> None:
        """Records one more item to write; `flush` is called for it, now or at the end of the iteration."""
        self._num_items += 1
        if self._num_items == 1:
            self._loop.call_soon(self._end_iteration, flush)
            if not self._is_burst_expected:
                flush()

    def _end_iteration(self, flush: Callable[[], None]) -> None:
        self._is_burst_expected = self._num_items > 1
        self._num_items = 0
        flush()

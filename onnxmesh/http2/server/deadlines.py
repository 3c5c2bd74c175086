"""When the calls of one connection must be over."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import monotonic

from onnxmesh.http2.server.call import Call

GRACE_S = 0.1
"""A handler that watches its deadline itself says better what was late: it is cancelled so much later."""


class Deadlines:
    """One timer for all calls of a connection: nearly all of them end long before theirs.

    Args:
        loop: Has the timer.
        calls: Those that are under way.
        expired: Is called with each that is late.

    Attributes:
        next_s: The earliest deadline that the timer knows of; infinity: none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        calls: Mapping[int, Call],
        expired: Callable[[Call], object],
    ) -> None:
        self._loop = loop
        self._calls = calls
        self._expired = expired
        self._timer: asyncio.TimerHandle | None = None
        self.next_s = math.inf

    def watch(self, at_s: float) -> None:
        """Takes a deadline that is earlier than the next one."""
        self.close()
        self.next_s = at_s
        self._timer = self._loop.call_later(max(0.0, at_s - monotonic()) + GRACE_S, self._look)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now_s, self.next_s = monotonic(), math.inf
        for call in tuple(self._calls.values()):
            if call.ends_at_s <= now_s:
                self._expired(call)
        earliest_s = min(
            (call.ends_at_s for call in self._calls.values() if call.ends_at_s > now_s), default=math.inf
        )
        if earliest_s < math.inf:
            self.watch(earliest_s)

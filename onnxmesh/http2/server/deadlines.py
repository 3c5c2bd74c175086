"""Deadlines of the calls of one connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Generic, Protocol, TypeVar

EXPIRY_DELAY_S = 0.1
"""Calls expire so long after their deadline: a handler that watches its deadline itself reports better what was late."""


class HasDeadline(Protocol):
    """Something that expires.

    Attributes:
        deadline_s: Time on the monotonic clock; infinity: never.
    """

    deadline_s: float


T = TypeVar("T", bound=HasDeadline)


class Deadlines(Generic[T]):
    """One timer for all deadlines, since nearly all calls end long before theirs.

    Args:
        loop: Its timer is used.
        entries: What may expire; read again whenever the timer fires.
        expire: Is called with each entry whose deadline has passed.

    Attributes:
        next_s: The earliest deadline that the timer is set for; infinity: none.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, entries: Mapping[int, T], expire: Callable[[T], object]
    ) -> None:
        self._loop = loop
        self._entries = entries
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self.next_s = math.inf

    def watch(self, deadline_s: float) -> None:
        """Sets the timer for a deadline that is earlier than `next_s`."""
        self.close()
        self.next_s = deadline_s
        self._timer = self._loop.call_later(max(0.0, deadline_s - monotonic()) + EXPIRY_DELAY_S, self._check)

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        now_s, self.next_s = monotonic(), math.inf
        for entry in tuple(self._entries.values()):
            if entry.deadline_s <= now_s:
                self._expire(entry)
        earliest_s = min(
            (entry.deadline_s for entry in self._entries.values() if entry.deadline_s > now_s),
            default=math.inf,
        )
        if earliest_s < math.inf:
            self.watch(earliest_s)

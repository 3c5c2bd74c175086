"""Typical durations under interference."""

from __future__ import annotations

from collections import deque

NUM_KEPT = 5
"""Number of durations that count: the newest ones."""


class TypicalTime:
    """Lower quartile of the last few durations of one operation.

    Much can make a single run longer that has nothing to do with the operation: the first run of a size, other work on
    the same cores. Nothing can make one shorter. Averages, medians and minima were compared in ADR 24.
    """

    __slots__ = ("_times_s",)

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=NUM_KEPT)

    def __len__(self) -> int:
        return len(self._times_s)

    def observe(self, seconds: float) -> None:
        """Adds a duration."""
        self._times_s.append(seconds)

    @property
    def seconds(self) -> float:
        """The typical duration; at least one must have been observed."""
        return sorted(self._times_s)[(len(self._times_s) - 1) // 4]

    @property
    def last_s(self) -> float:
        """The newest duration; at least one must have been observed."""
        return self._times_s[-1]

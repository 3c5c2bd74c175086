"""Deadlines in monotonic time. Pure except for the default clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

Clock = Callable[[], float]
"""Returns the seconds of a monotonic clock."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Deadline of a request, made once per request and process.

    On the wire a deadline is the remaining seconds, so that clocks need not agree.

    Attributes:
        at_s: The time on this process's monotonic clock; infinity: no deadline.
    """

    at_s: float

    @classmethod
    def after(cls, seconds: float | None, clock: Clock = monotonic) -> Deadline:
        """Returns the deadline `seconds` from now; None: no deadline."""
        return cls(math.inf if seconds is None else clock() + seconds)

    def remaining_s(self, clock: Clock = monotonic) -> float:
        """Returns the remaining seconds, at least 0."""
        return max(0.0, self.at_s - clock())

    def expired(self, clock: Clock = monotonic) -> bool:
        """Whether the deadline has passed."""
        return clock() >= self.at_s

    def earlier(self, other: Deadline) -> Deadline:
        """Returns the earlier of the two deadlines."""
        return self if self.at_s <= other.at_s else other

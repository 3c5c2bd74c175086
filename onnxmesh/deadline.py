"""When a request must be over."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

Clock = Callable[[], float]
"""Returns seconds on a clock that never goes back."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time, made once per request and process.

    On the wire a deadline travels as the seconds that remain, so that clocks need not agree.

    Attributes:
        at_s: The point on this process's monotonic clock; infinity means never.
    """

    at_s: float

    @classmethod
    def after(cls, seconds: float | None, clock: Clock = monotonic) -> Deadline:
        """Returns the deadline `seconds` from now; None means never."""
        return cls(math.inf if seconds is None else clock() + seconds)

    def remaining_s(self, clock: Clock = monotonic) -> float:
        """Returns the seconds left, 0 at the least."""
        return max(0.0, self.at_s - clock())

    def expired(self, clock: Clock = monotonic) -> bool:
        """Whether the deadline has passed."""
        return clock() >= self.at_s

    def earlier(self, other: Deadline) -> Deadline:
        """Returns whichever of the two comes first."""
        return self if self.at_s <= other.at_s else other

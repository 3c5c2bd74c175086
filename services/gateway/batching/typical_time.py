"""What something usually takes. Pure."""

from __future__ import annotations

from collections import deque

NUM_KEPT = 5
"""The last so many times count."""


class TypicalTime:
    """The lower quartile of the last few times that something took.

    Much makes a single time longer that has nothing to do with what took it: the first run of a size, others on the same cores. Nothing
    makes one shorter.
    """

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=NUM_KEPT)

    def __len__(self) -> int:
        return len(self._times_s)

    def took(self, seconds: float) -> None:
        """It took so long."""
        self._times_s.append(seconds)

    @property
    def seconds(self) -> float:
        """What it usually takes; it must have been done once."""
        return sorted(self._times_s)[(len(self._times_s) - 1) // 4]

    @property
    def last_s(self) -> float:
        """What it took last; it must have been done once."""
        return self._times_s[-1]

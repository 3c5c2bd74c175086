"""Port of the random numbers that choices are drawn by."""

from __future__ import annotations

from typing import Protocol


class RandomSource(Protocol):
    """Source of random numbers, such as a `random.Random`."""

    def random(self) -> float:
        """Returns a number in [0, 1)."""

"""Exponentially weighted moving averages."""

from __future__ import annotations


def smoothed(average: float, value: float, weight: float) -> float:
    """Returns an average moved towards a new value by `weight`, between 0 (not at all) and 1 (all the way)."""
    return average + weight * (value - average)


class SmoothedAverage:
    """Exponentially weighted moving average; the first value counts in full.

    Args:
        weight: Of a new value against the average so far, between 0 and 1.
        initial: A guess that stands, and is smoothed like a value, until values replace it; None: no guess.
    """

    __slots__ = ("_value", "_weight")

    def __init__(self, weight: float, initial: float | None = None) -> None:
        self._weight = weight
        self._value = initial

    @property
    def value(self) -> float | None:
        """The average; None before the first value."""
        return self._value

    def observe(self, value: float) -> None:
        """Adds a value."""
        self._value = value if self._value is None else smoothed(self._value, value, self._weight)

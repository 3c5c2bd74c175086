"""When an alternative that is not in use is tried again."""

from __future__ import annotations


class TrialSchedule:
    """Counts uses of the preferred choice, and says when the other one is due for a trial.

    Args:
        first: Uses before the first trial, at least 1.
        most: Most uses between two trials: each trial without success doubles the interval up to it; None: `first`.
    """

    __slots__ = ("_first", "_interval", "_most", "_remaining")

    def __init__(self, first: int, most: int | None = None) -> None:
        self._first = first
        self._most = first if most is None else most
        self._interval = self._remaining = first

    def is_due(self) -> bool:
        """Counts one use; returns whether this one is to be the trial. Due until `failed` or `succeeded` is called."""
        self._remaining -= 1
        return self._remaining <= 0

    def failed(self) -> None:
        """Records a trial that was no better: the next comes after twice as many uses, up to the most."""
        self._interval = min(2 * self._interval, self._most)
        self._remaining = self._interval

    def succeeded(self) -> None:
        """Records a trial that was better: the interval is the first one again."""
        self._interval = self._remaining = self._first

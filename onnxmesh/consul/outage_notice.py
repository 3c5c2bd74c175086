"""When a failure that repeats is logged: at once where it is new, then each minute."""

from __future__ import annotations

from time import monotonic

from onnxmesh.deadline import Clock

NOTICE_INTERVAL_S = 60.0
"""Time after which the same failure is logged again."""


class OutageNotice:
    """Decides whether a failure is logged, of a call that is tried several times a second.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, *, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._last = ""
        self._logged_at_s = 0.0

    def is_due(self, failure: str) -> bool:
        """Whether this failure is to be logged; it counts as logged then."""
        now_s = self._clock()
        if failure == self._last and now_s < self._logged_at_s + NOTICE_INTERVAL_S:
            return False
        self._last, self._logged_at_s = failure, now_s
        return True

    def end(self) -> None:
        """Records that the call succeeded: the next failure is a new one."""
        self._last = ""

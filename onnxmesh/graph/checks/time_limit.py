"""Time limit of a check, of which several parts get equal shares."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

_LOADED = 4
"""How many times longer a check may take on a machine that is busy with other work."""


def check_clock() -> Callable[[], float]:
    """Returns a clock: processor time of this process since now, or a quarter of the elapsed time where that is more.

    A machine that is busy with other work therefore finds what an idle one finds, and a check that waits for a disk ends.
    """
    process, elapsed = time.process_time(), time.monotonic()
    return lambda: max(time.process_time() - process, (time.monotonic() - elapsed) / _LOADED)


class TimeLimit:
    """Limit on the time that a check spends on runs. Loading a stage does not count: no check can avoid it.

    Args:
        limit_s: The limit, in seconds.
        clock: Monotonic time in seconds; None: `check_clock`.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] | None = None) -> None:
        self.limit_s = limit_s
        self._clock = clock or check_clock()
        self._end = self._clock() + limit_s

    @property
    def remaining_s(self) -> float:
        """Seconds that remain; negative once the time is up."""
        return self._end - self._clock()

    def expired(self) -> bool:
        """Whether the time is up."""
        return self.remaining_s <= 0

    def share(self, num_parts: int) -> TimeLimit:
        """Returns a limit for one of several parts that remain."""
        part = TimeLimit(self.remaining_s / num_parts, self._clock)
        part.limit_s = self.limit_s
        return part

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Does not count the time within the block."""
        start = self._clock()
        try:
            yield
        finally:
            self._end += self._clock() - start

    @property
    def reason(self) -> str:
        """Why nothing was found, for people."""
        return f"not checked within {self.limit_s:g} s"

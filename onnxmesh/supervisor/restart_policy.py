"""Restart policy of a service: exponential backoff with a limit. Pure: the time is given."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class RestartPolicy:
    """Delays between restarts of one service, and when to give up.

    Attributes:
        max_deaths: Number of deaths within the window at which it gives up; None: never.
        window_s: Seconds for which a death counts.
        first_delay_s: Delay after the first death in the window; doubles with each further one.
        max_delay_s: Longest delay.
    """

    max_deaths: int | None = 5
    window_s: float = 30.0
    first_delay_s: float = 0.1
    max_delay_s: float = 3.0
    _deaths_s: deque[float] = field(default_factory=deque)

    def delay_after_death(self, now_s: float) -> float | None:
        """Counts a death at `now_s`; returns the seconds until the restart, or None to give up."""
        self._deaths_s.append(now_s)
        while self._deaths_s[0] <= now_s - self.window_s:
            self._deaths_s.popleft()
        num_deaths = len(self._deaths_s)
        if self.max_deaths is not None and num_deaths >= self.max_deaths:
            return None
        return min(self.max_delay_s, self.first_delay_s * 2.0 ** (num_deaths - 1))

"""How long a stage at work waits for more requests before it runs those that it has. Pure."""

from __future__ import annotations

from services.worker.stages.run_cost import RunCost

MAX_DELAY_S = 0.005
"""Longest wait, where the operator says nothing."""

_WEIGHT_OF_ARRIVAL = 0.1


class BatchDelay:
    """Learns how often requests come and what a run costs, `fixed + per_row * rows`, and weighs both.

    When `n` requests wait, and one more comes after `d` seconds, waiting for it makes the `n` later by `d` and by what
    its rows cost, and spares the one that comes a fixed cost, less `d`. So waiting pays while
    `fixed - d > n * (d + per_row * rows)`, that is for `d` below `(fixed - n * per_row * rows) / (n + 1)`: a stage
    waits for that long at the most, and only where the next request is expected sooner.

    Args:
        max_s: Longest wait; 0: never.
    """

    def __init__(self, max_s: float | None = None) -> None:
        self._max_s = MAX_DELAY_S if max_s is None else max_s
        self._last_s: float | None = None
        self._gap_s: float | None = None
        self._cost = RunCost()

    def arrived(self, now_s: float) -> None:
        """A request came."""
        if self._last_s is not None:
            gap_s = max(0.0, now_s - self._last_s)
            self._gap_s = (
                gap_s if self._gap_s is None else self._gap_s + _WEIGHT_OF_ARRIVAL * (gap_s - self._gap_s)
            )
        self._last_s = now_s

    def ran(self, rows: int, seconds: float) -> None:
        """So many rows ran together."""
        self._cost.ran(rows, seconds)

    @property
    def cost(self) -> tuple[float, float]:
        """Seconds that a run costs for itself, 0 until two sizes were seen, and for each row."""
        return self._cost.line

    def run_s(self, rows: int) -> float:
        """Returns how long a run of so many rows takes; 0 where nothing is known."""
        return self._cost.run_s(rows)

    def worth_s(self, num_requests: int, num_rows: int) -> float:
        """Returns for how long to wait with so many requests that wait already; 0: not at all."""
        if self._gap_s is None or not num_requests:
            return 0.0
        fixed, per_row = self.cost
        pays_s = (fixed - num_rows * per_row) / (num_requests + 1)
        return min(pays_s, self._max_s) if self._gap_s < pays_s else 0.0

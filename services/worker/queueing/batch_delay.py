"""Batch delay of a stage: how long a run is put off so that more requests join it."""

from __future__ import annotations

from onnxmesh.estimation.linear_cost import LinearCost
from onnxmesh.estimation.smoothed_average import SmoothedAverage

MAX_DELAY_S = 0.005
"""Longest delay where the operator sets none."""

_WEIGHT_OF_ARRIVAL = 0.1


class BatchDelay:
    """Weighs the mean interval between arrivals against the cost of a run, `fixed + per_row * rows`; both are learned.

    When `n` requests wait and one more arrives after `d` seconds, waiting for it delays the `n` by `d` and by the cost
    of its rows, and saves the new one a fixed cost, less `d`. So waiting pays while
    `fixed - d > n * (d + per_row * rows)`, that is for `d` below `(fixed - n * per_row * rows) / (n + 1)`: that is the
    longest delay, and it is spent only where the next request is expected sooner.

    Args:
        max_s: Longest delay; 0: none. None: `MAX_DELAY_S`.
    """

    def __init__(self, max_s: float | None = None) -> None:
        self._max_s = MAX_DELAY_S if max_s is None else max_s
        self._last_s: float | None = None
        self._interval = SmoothedAverage(_WEIGHT_OF_ARRIVAL)
        self._cost = LinearCost()

    def observe_arrival(self, now_s: float) -> None:
        """Records the arrival of a request."""
        if self._last_s is not None:
            self._interval.observe(max(0.0, now_s - self._last_s))
        self._last_s = now_s

    def observe_run(self, rows: int, seconds: float) -> None:
        """Records a run of `rows` rows."""
        self._cost.observe(rows, seconds)

    @property
    def cost(self) -> tuple[float, float]:
        """Seconds of a run: fixed, 0 until runs of two sizes were observed, and per row."""
        return self._cost.line

    def run_s(self, rows: int) -> float:
        """Returns the expected seconds of a run of `rows` rows; 0 before the first observation."""
        return self._cost.run_s(rows)

    def delay_s(self, num_requests: int, num_rows: int) -> float:
        """Returns the longest worthwhile delay with that many requests and rows queued; 0: none."""
        interval_s = self._interval.value
        if interval_s is None or not num_requests:
            return 0.0
        fixed, per_row = self.cost
        pays_s = (fixed - num_rows * per_row) / (num_requests + 1)
        return min(pays_s, self._max_s) if interval_s < pays_s else 0.0

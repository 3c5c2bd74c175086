"""What runs of a stage cost, learned from those that were made. Pure."""

from __future__ import annotations

_KEPT = 0.98
"""How much of what was known before counts after one more run."""


class RunCost:
    """The line `fixed + per_row * rows` through the runs that were seen, late ones counting for more."""

    def __init__(self) -> None:
        self._num = self._rows = self._time = self._rows_rows = self._rows_time = 0.0

    def ran(self, rows: int, seconds: float) -> None:
        """So many rows ran together."""
        self._num = _KEPT * self._num + 1.0
        self._rows = _KEPT * self._rows + rows
        self._time = _KEPT * self._time + seconds
        self._rows_rows = _KEPT * self._rows_rows + rows * rows
        self._rows_time = _KEPT * self._rows_time + rows * seconds

    @property
    def line(self) -> tuple[float, float]:
        """Seconds that a run costs for itself, 0 until two sizes were seen, and for each row."""
        spread = self._num * self._rows_rows - self._rows * self._rows
        if spread <= 1e-9 * max(1.0, self._rows_rows):
            return 0.0, self._time / self._rows if self._rows else 0.0
        per_row = (self._num * self._rows_time - self._rows * self._time) / spread
        if per_row <= 0:
            return self._time / self._num, 0.0
        fixed = (self._time - per_row * self._rows) / self._num
        return max(0.0, fixed), per_row

    def run_s(self, rows: int) -> float:
        """Returns how long a run of so many rows takes; 0 where nothing is known."""
        fixed, per_row = self.line
        return fixed + per_row * rows

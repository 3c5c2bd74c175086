"""Cost model of a stage's runs, `fixed + per_row * rows`, fitted to observed runs."""

from __future__ import annotations

_KEPT = 0.98
"""Weight of the earlier observations after one more."""


class RunCost:
    """Least-squares line `fixed + per_row * rows` through the observed runs, recent ones weighted higher."""

    def __init__(self) -> None:
        self._num = self._rows = self._time = self._rows_rows = self._rows_time = 0.0

    def observe_run(self, rows: int, seconds: float) -> None:
        """Records a run of so many rows."""
        self._num = _KEPT * self._num + 1.0
        self._rows = _KEPT * self._rows + rows
        self._time = _KEPT * self._time + seconds
        self._rows_rows = _KEPT * self._rows_rows + rows * rows
        self._rows_time = _KEPT * self._rows_time + rows * seconds

    @property
    def line(self) -> tuple[float, float]:
        """Seconds of a run: fixed, 0 until runs of two sizes were observed, and per row."""
        spread = self._num * self._rows_rows - self._rows * self._rows
        if spread <= 1e-9 * max(1.0, self._rows_rows):
            return 0.0, self._time / self._rows if self._rows else 0.0
        per_row = (self._num * self._rows_time - self._rows * self._time) / spread
        if per_row <= 0:
            return self._time / self._num, 0.0
        fixed = (self._time - per_row * self._rows) / self._num
        return max(0.0, fixed), per_row

    def run_s(self, rows: int) -> float:
        """Returns the expected seconds of a run of so many rows; 0 before the first observation."""
        fixed, per_row = self.line
        return fixed + per_row * rows

"""Duration of a run as a linear function of its number of rows."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from onnxmesh.estimation.typical_time import TypicalTime

NUM_SIZES = 8
"""Numbers of rows that are remembered; the one not seen for longest is evicted first."""


class LinearCost:
    """Estimates `fixed + per_row * rows` from observed runs.

    The estimate is the highest line with both terms not negative that lies on or below the typical duration of every
    remembered size, highest at the mean of these sizes. It is no mean line: a size that was run while other work had
    the cores lies far above what it would take now, and none lies far below (ADR 24).
    """

    __slots__ = ("_line", "_typical", "least_rows")

    def __init__(self) -> None:
        self.least_rows = 0
        """The fewest rows of an observed run; 0: none was observed."""
        self._typical: OrderedDict[int, TypicalTime] = OrderedDict()
        self._line: tuple[float, float] | None = (0.0, 0.0)

    def observe(self, rows: int, seconds: float) -> None:
        """Adds a run of `rows` rows that took `seconds`; runs of 0 rows are ignored."""
        if rows < 1:
            return
        self.least_rows = min(self.least_rows or rows, rows)
        self._typical.setdefault(rows, TypicalTime()).observe(seconds)
        self._typical.move_to_end(rows)
        if len(self._typical) > NUM_SIZES:
            self._typical.popitem(last=False)
        self._line = None

    @property
    def line(self) -> tuple[float, float]:
        """Fixed seconds of a run, 0 until two sizes were observed, and seconds for each row."""
        if self._line is None:
            self._line = _highest_line_below(
                sorted((rows, each.seconds) for rows, each in self._typical.items())
            )
        return self._line

    def run_s(self, rows: int) -> float:
        """Returns the estimated duration of a run of `rows` rows in seconds; 0 where nothing was observed."""
        fixed, per_row = self.line
        return fixed + per_row * rows


def _highest_line_below(points: list[tuple[int, float]]) -> tuple[float, float]:
    """Returns `(fixed, per_row)` of the line below all points that is highest at their mean size.

    Without the condition that neither term is negative this is the edge of the points' lower convex hull at the mean
    size; with it, the steepest line through the origin bounds the slope, and the lowest point the intercept.

    Args:
        points: Number of rows and seconds of each size, by rows, at least one.
    """
    slope_through_origin = min(seconds / rows for rows, seconds in points)
    if len(points) == 1:
        return 0.0, slope_through_origin
    mean = sum(rows for rows, _ in points) / len(points)
    best = (0.0, slope_through_origin)
    flat = (min(seconds for _, seconds in points), 0.0)
    candidates = [flat]
    hull = _lower_hull(points)
    for (rows, seconds), (next_rows, next_s) in pairwise(hull):
        per_row = (next_s - seconds) / (next_rows - rows)
        candidates.append((seconds - per_row * rows, per_row))
    for fixed, per_row in candidates:
        if fixed >= 0.0 and per_row >= 0.0 and fixed + per_row * mean > best[0] + best[1] * mean:
            best = (fixed, per_row)
    return best


def _lower_hull(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns the points of the lower convex hull, from left to right.

    Source: A. M. Andrew, "Another efficient algorithm for convex hulls in two dimensions", 1979 (monotone chain).
    """
    hull: list[tuple[int, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x0, y0), (x1, y1) = hull[-2:]
            if (y1 - y0) * (x - x0) < (y - y0) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull

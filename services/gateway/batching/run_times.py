"""What runs of a stage usually take, by their rows. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import combinations

from services.gateway.batching.typical_time import TypicalTime

_NUM_SIZES = 8
"""Sizes that are remembered; that longest not seen goes first."""

_ROUNDING = 1e-9


class RunTimes:
    """The line `fixed + per_row * rows` below what runs of each size usually take, as high as it can be.

    It is no mean: a size that was run while others had the cores is far above what it would take now, and nothing is far below.

    Attributes:
        least_rows: The fewest rows of a run that was seen; 0: none was.
    """

    def __init__(self) -> None:
        self.least_rows = 0
        self._usual: OrderedDict[int, TypicalTime] = OrderedDict()

    def ran(self, rows: int, seconds: float) -> None:
        """So many rows ran together."""
        self.least_rows = min(self.least_rows or rows, rows)
        self._usual.setdefault(rows, TypicalTime()).took(seconds)
        self._usual.move_to_end(rows)
        if len(self._usual) > _NUM_SIZES:
            self._usual.popitem(last=False)

    @property
    def line(self) -> tuple[float, float]:
        """Seconds that a run costs for itself, 0 until two sizes were seen, and for each row."""
        points = [(rows, usual.seconds) for rows, usual in self._usual.items()]
        if not points:
            return 0.0, 0.0
        lines = [(0.0, min(seconds / rows for rows, seconds in points))]
        if len(points) > 1:
            lines.append((min(seconds for _, seconds in points), 0.0))
        for (rows, seconds), (other_rows, other_s) in combinations(points, 2):
            per_row = (other_s - seconds) / (other_rows - rows)
            lines.append((seconds - per_row * rows, per_row))
        middle = sum(rows for rows, _ in points) / len(points)
        return max(
            (line for line in lines if min(line) >= 0.0 and _is_below(line, points)),
            key=lambda line: line[0] + line[1] * middle,
        )


def _is_below(line: tuple[float, float], points: Iterable[tuple[int, float]]) -> bool:
    fixed, per_row = line
    return all(fixed + per_row * rows <= seconds * (1.0 + _ROUNDING) for rows, seconds in points)

"""The number of micro-batches that a request with many rows is best split into. Pure.

Source: Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline Parallelism", NeurIPS 2019,
for the time of a pipeline: the first micro-batch passes every stage, each further one costs what the slowest takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxmesh.ids import WorkerId

MAX_MICRO_BATCHES = 64
"""Most micro-batches of one request."""

MIN_GAIN = 0.1
"""A request is split where that is expected to save this share of its time."""

FRAME_S = 0.0005
"""What each micro-batch costs at a hop beside the run: frames, queues, threads."""

MAX_SHRINKAGE = 4
"""A micro-batch has at least this part of the rows of the smallest measured run: the cost is not extrapolated further."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One stage of a route, and the link to it.

    Attributes:
        worker: Worker of the stage: stages of one worker share its cores, so they do not overlap.
        fixed_s: Fixed seconds of a run.
        row_s: Seconds for each row.
        least_rows: The fewest rows of a measured run.
        latency_s: Of the link.
        wire_row_s: What a row takes on the link.
    """

    worker: WorkerId
    fixed_s: float
    row_s: float
    least_rows: int
    latency_s: float = 0.0
    wire_row_s: float = 0.0

    def run_s(self, rows: int) -> float:
        """Returns how long its worker is busy with a run of `rows` rows."""
        return FRAME_S + self.fixed_s + self.row_s * rows


def best_num_micro_batches(rows: int, legs: Sequence[Leg]) -> int:
    """Returns the number of micro-batches of about equal size that is expected to be fastest; 1: the request stays whole.

    Args:
        rows: Of the request.
        legs: Its route, in order.
    """
    least_rows = max(1, *(-(-leg.least_rows // MAX_SHRINKAGE) for leg in legs))
    whole_s = _total_s(rows, 1, legs)
    best_s, best = whole_s * (1.0 - MIN_GAIN), 1
    for num in range(2, min(MAX_MICRO_BATCHES, rows // least_rows) + 1):
        total_s = _total_s(rows, num, legs)
        if total_s < best_s:
            best_s, best = total_s, num
    return best


def num_micro_batches_to_try(rows: int, legs: Sequence[Leg]) -> int:
    """Returns the number of micro-batches for a trial where the plan leaves a request whole; 1: no trial can gain.

    The fixed cost of a run is the small difference of two measurements, and may be far off. Requests that are not split
    give no evidence against an overestimate of it. So this one plans as if a run had no fixed cost.

    Args:
        rows: Of the request.
        legs: Its route, in order.
    """
    without_fixed = [replace(leg, fixed_s=0.0, row_s=leg.row_s + leg.fixed_s / rows) for leg in legs]
    return min(2, best_num_micro_batches(rows, without_fixed))


def rows_of_micro_batches(rows: int, num: int) -> list[int]:
    """Returns the rows of each of `num` micro-batches, in order; they differ by one at most."""
    each, more = divmod(rows, num)
    return [each + (index < more) for index in range(num)]


def _total_s(rows: int, num: int, legs: Sequence[Leg]) -> float:
    """Returns how long a request takes in `num` micro-batches, each counted as large as the largest."""
    most = -(-rows // num)
    busy_s: defaultdict[WorkerId, float] = defaultdict(float)
    for leg in legs:
        busy_s[leg.worker] += leg.run_s(most)
    wires_s = [leg.wire_row_s * most for leg in legs]
    first_s = sum(busy_s.values()) + sum(wires_s) + sum(leg.latency_s for leg in legs)
    return first_s + (num - 1) * max(*busy_s.values(), *wires_s)

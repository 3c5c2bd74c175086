"""Into how many micro-batches a request with many rows is best cut. Pure.

Source: Huang et al., "GPipe: Efficient Training of Giant Neural Networks using Pipeline Parallelism", NeurIPS 2019,
for the time of a pipeline: the first micro-batch passes every stage, each further one costs what the slowest takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from onnxmesh.ids import WorkerId

MAX_PIECES = 64
"""Most micro-batches of one request."""

LEAST_GAIN = 0.1
"""A request is cut where that is expected to spare this share of its time."""

FRAME_S = 0.0005
"""What a hop costs for each micro-batch beside the run: frames, queues, threads."""

UNSEEN = 4
"""A micro-batch has no fewer rows than this part of the smallest run that was measured: what is not known is tried bit by bit."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One stage of a route, and the way to it.

    Attributes:
        worker: Where it is: stages of one worker share its cores, so they do not overlap.
        fixed_s: What a run costs for itself.
        row_s: What it costs for each row.
        least_rows: The fewest rows of a run that was measured.
        latency_s: Of the way there.
        wire_row_s: What the way there takes for each row.
    """

    worker: WorkerId
    fixed_s: float
    row_s: float
    least_rows: int
    latency_s: float = 0.0
    wire_row_s: float = 0.0

    def run_s(self, rows: int) -> float:
        """Returns how long its worker is busy with so many rows."""
        return FRAME_S + self.fixed_s + self.row_s * rows


def num_pieces(rows: int, legs: Sequence[Leg]) -> int:
    """Returns into how many micro-batches of about equal size a request is best cut; 1: it is left whole.

    Args:
        rows: Of the request.
        legs: Its route, in order.
    """
    least_rows = max(1, *(-(-leg.least_rows // UNSEEN) for leg in legs))
    whole_s = _total_s(rows, 1, legs)
    best_s, best = whole_s * (1.0 - LEAST_GAIN), 1
    for pieces in range(2, min(MAX_PIECES, rows // least_rows) + 1):
        total_s = _total_s(rows, pieces, legs)
        if total_s < best_s:
            best_s, best = total_s, pieces
    return best


def num_to_try(rows: int, legs: Sequence[Leg]) -> int:
    """Returns into how many a request is cut to see whether `num_pieces` is right to leave it whole; 1: it must be.

    What it costs to run at all is the small difference of two figures that were measured, and may be far off. A plan that
    leaves requests whole for it is not put right by whole ones. So this one counts as if rows were all that costs.

    Args:
        rows: Of the request.
        legs: Its route, in order.
    """
    return min(
        2, num_pieces(rows, [replace(leg, fixed_s=0.0, row_s=leg.row_s + leg.fixed_s / rows) for leg in legs])
    )


def sizes(rows: int, pieces: int) -> list[int]:
    """Returns the rows of each micro-batch, in order."""
    each, more = divmod(rows, pieces)
    return [each + (index < more) for index in range(pieces)]


def _total_s(rows: int, pieces: int, legs: Sequence[Leg]) -> float:
    """Returns how long a request takes in so many pieces, each taken to be as large as the largest."""
    most = -(-rows // pieces)
    busy_s: defaultdict[WorkerId, float] = defaultdict(float)
    for leg in legs:
        busy_s[leg.worker] += leg.run_s(most)
    wires_s = [leg.wire_row_s * most for leg in legs]
    first_s = sum(busy_s.values()) + sum(wires_s) + sum(leg.latency_s for leg in legs)
    return first_s + (pieces - 1) * max(*busy_s.values(), *wires_s)

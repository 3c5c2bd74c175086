"""Where to cut a chain whose groups are known: an exact optimisation problem over integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxmesh.planning.search.int_array import INFEASIBLE, IntArray
from onnxmesh.planning.search.range_minimum import RangeMinimum
from onnxmesh.planning.search.shared_weights import SharedWeights
from onnxmesh.planning.search.stage_costs import StageCosts


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """A row of `m` blocks to be cut into stages, each with costs of its own.

    A stage's period only falls as it starts later, so the best start for a given end under a bound is the
    latest reachable one. That makes the question "is there a cut with no period over T?" answerable in
    O(k m), and the least T follows by bisection over integers: exact, and O(k m log T) where a dynamic
    programme over starts and ends takes O(k m²).

    Attributes:
        stages: The costs of each stage, in order.
    """

    stages: Sequence[StageCosts]

    @property
    def num_blocks(self) -> int:
        """The number of blocks, `m`."""
        return len(self.stages[0].first_start) - 1

    def cut_within(self, bound: int) -> tuple[int, ...] | None:
        """Returns a cut with no period over the bound, of all of them the latest; None if there is none."""
        ends = np.arange(self.num_blocks + 1)
        reachable = ends == 0
        latests: list[IntArray] = []
        for stage in self.stages:
            # For each end the latest reachable position before it; -1 where there is none.
            latest = np.maximum.accumulate(np.where(reachable, ends, -1))
            latest = np.concatenate(([-1], latest[:-1]))
            within = stage.period(np.maximum(latest, 0), ends) <= bound
            reachable = (latest >= 0) & (latest >= stage.first_start) & within
            latests.append(latest)
        if not reachable[-1]:
            return None
        cuts: list[int] = []
        position = self.num_blocks
        for latest in reversed(latests):
            position = int(latest[position])
            cuts.append(position)
        return tuple(reversed(cuts[:-1]))

    def min_period(self, known: int | None = None) -> tuple[int, tuple[int, ...]] | None:
        """Returns the least period of the slowest stage, and a cut that has it; None if memory forbids all.

        Args:
            known: A period that some cut is known to have.
        """
        high = known
        if high is None:
            # Mixed devices take at least one unit, however little there is to do.
            high = 1 + max(int(stage.prefix[:, -1].max() + stage.transfer.max()) for stage in self.stages)
        best = self.cut_within(high)
        if best is None:
            return None
        low = 0
        while low < high:
            middle = (low + high) // 2
            cut = self.cut_within(middle)
            if cut is None:
                low = middle + 1
            else:
                high, best = middle, cut
        return low, best

    def min_latency(self) -> tuple[int, tuple[int, ...]] | None:
        """Returns the least sum of all delays, and a cut that has it; None if memory forbids all.

        A delay is a difference of two terms, so each layer is m range minima on a sparse table: O(k m log m).
        """
        ends = np.arange(self.num_blocks + 1)
        best = np.where(ends == 0, 0, INFEASIBLE)
        layers: list[IntArray] = []
        for stage in self.stages:
            layers.append(best)
            before = np.where(best < INFEASIBLE, best - stage.slowest, INFEASIBLE)
            least = RangeMinimum(before).of(stage.first_start, ends)
            best = np.where(least < INFEASIBLE, least + stage.slowest + stage.sending, INFEASIBLE)
        if best[-1] >= INFEASIBLE:
            return None
        cuts: list[int] = []
        position = self.num_blocks
        for stage, before in zip(reversed(self.stages), reversed(layers), strict=True):
            starts = ends[stage.first_start[position] : position]
            sums = np.where(
                before[starts] < INFEASIBLE, before[starts] + stage.delay(starts, position), INFEASIBLE
            )
            position = int(starts[sums.argmin()])
            cuts.append(position)
        return int(best[-1]), tuple(reversed(cuts[:-1]))

    def min_bytes(
        self, bound: int, num_bytes: IntArray, shared: SharedWeights
    ) -> tuple[int, tuple[int, ...]] | None:
        """Returns the least that any cut with no period over the bound sends, and such a cut.

        One layer for each stage; the starts that an end allows are an interval, which shared weights divide
        where a stage would need another copy of one: range minima on a sparse table, O(k m (w + log m)) with
        w shared weights. Of equal cuts, the one with the latest last cut wins.

        Args:
            bound: On each stage's period.
            num_bytes: What crossing each position weighs.
            shared: What copies of weights weigh.
        """
        ends = np.arange(self.num_blocks + 1)
        best = np.where(ends == 0, 0, INFEASIBLE)
        layers: list[tuple[IntArray, IntArray]] = []
        for stage in self.stages:
            lows = stage.starts_within(bound)
            layers.append((best, lows))
            table = RangeMinimum(best)
            least = np.full_like(best, INFEASIBLE)
            high = ends
            for start, copies in shared.steps():
                low = np.minimum(np.maximum(lows, start), high)
                least = np.minimum(least, table.of(low, high) + copies)
                high = low
            best = np.where(least < INFEASIBLE, least + num_bytes, INFEASIBLE)
        if best[-1] >= INFEASIBLE:
            return None
        cuts: list[int] = []
        position = self.num_blocks
        for before, lows in reversed(layers):
            starts = ends[lows[position] : position]
            sums = before[starts] + shared.copies(starts, position)
            position = int(starts[len(starts) - 1 - sums[::-1].argmin()])
            cuts.append(position)
        return int(best[-1]), tuple(reversed(cuts[:-1]))

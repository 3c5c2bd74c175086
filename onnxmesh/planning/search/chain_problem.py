"""Optimal cuts of a chain for given device groups: exact, over integers."""

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
    """A chain of `m` blocks to be cut into `k` stages, each with its own costs.

    A stage's period never rises as its start moves forward, so under a bound the best start for a given end is the
    latest reachable one. So "is there a cut with no period over T?" takes O(k m), and bisection over integers finds
    the least T exactly in O(k m log T), where a dynamic programme over starts and ends takes O(k m²).

    Attributes:
        stages: The costs of each stage, in order.
    """

    stages: Sequence[StageCosts]

    @property
    def num_blocks(self) -> int:
        """The number of blocks, `m`."""
        return len(self.stages[0].first_start) - 1

    def cut_within(self, bound: int) -> tuple[int, ...] | None:
        """Returns the cuts, the latest possible, with no period over the bound; None if there are none."""
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
        """Returns the least period of the slowest stage, and cuts that reach it; None if none fits in memory.

        Args:
            known: A period that is known to be reachable.
        """
        high = known
        if high is None:
            # Groups of mixed kinds have a period of at least one unit.
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
        """Returns the least latency, and cuts that reach it; None if none fits in memory.

        A stage's delay is a difference of prefix sums, so each layer is m range minima on a sparse table: O(k m log m).
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
        """Returns the fewest weighted bytes of any cuts with no period over the bound, and such cuts; None if infeasible.

        One layer for each stage. The feasible starts for an end are an interval, which is divided where a stage would
        need another copy of a shared weight: range minima on a sparse table, O(k m (w + log m)) with w shared
        weights. Of equal cuts, those with the latest last cut are returned.

        Args:
            bound: Upper bound on each stage's period.
            num_bytes: Weighted bytes of the boundary at each position.
            shared: Costs of copies of shared weights.
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

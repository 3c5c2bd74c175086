"""Exact search for cuts, kinds and replicas together: a dynamic programme over a chain."""

from __future__ import annotations

from math import prod

import numpy as np

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup
from onnxmesh.planning.search.int_array import INFEASIBLE, IntArray

_TILE_VALUES = 1 << 18
"""Values that are compared at a time, so that they stay in the processor's cache."""


class StageSearch:
    """The best cuts of a chain into every number of stages, each on devices of one kind.

    Layer `k` has, for every multiset of devices `u`, kind `d` and block `a`, the least cost of `k` stages that cover
    the blocks from `a` to the end, use exactly `u`, and begin on kind `d`, which the stage before them sends to. Each
    feasible stage is prepended to them:

        best[k][u + r of d][d][a] = min over b, d' of combine(cost of [a, b) on r of d that sends to d',
                                                              best[k - 1][u][d'][b])

    where `combine` is the larger of both for throughput (a stage of `r` replicas costs its time over `r`),
    and their sum for latency. Costs are integers, so the result is exact.

    With m blocks, D kinds of c[d] units, S = prod(c[d] + 1) multisets and K layers this takes
    O(K S D² r m²) time, where r is the mean number of replicas tried (1 where their number is given), and
    O(K S D m) memory; `operations` estimates it.

    Source: PipeDream (SOSP'19, arXiv 1806.03377) divides a chain over equal devices with replicas, PipeEdge
    (arXiv 2110.14895) over unequal ones by sets of devices; AlpaServe (arXiv 2302.11665) searches groups of
    devices. Counting devices by kind replaces 2^devices sets by S multisets.

    Args:
        chain: The blocks. Its counts are units of `unit` devices.
        num_layers: Most stages to consider; at most the number of blocks and of units.
        unit: Number of devices that are assigned together.
        replicate: Whether a stage may have several units.
        latency: Whether the objective is latency.
    """

    def __init__(
        self, chain: Chain, num_layers: int, *, unit: int = 1, replicate: bool = False, latency: bool = False
    ) -> None:
        self._chain = chain
        self._unit = unit
        self._replicate = replicate and not latency
        self._combine = np.add if latency else np.maximum
        self._latency = latency
        sizes = [count + 1 for count in chain.counts]
        self._radix = [prod(sizes[:kind]) for kind in range(chain.num_kinds)]
        every = np.arange(prod(sizes))
        self._used = np.array([every // radix % size for radix, size in zip(self._radix, sizes, strict=True)])
        total = self._used.sum(axis=0)
        # Index of each multiset in each layer; -1 where that many stages cannot use it.
        self._indices: list[IntArray] = []
        self._members: list[IntArray] = []
        for layer in range(1, num_layers + 1):
            member = total >= layer if self._replicate else total == layer
            self._indices.append(np.where(member, np.cumsum(member) - 1, -1))
            self._members.append(np.flatnonzero(member))
        self._layers = [self._last_stage()]
        for layer in range(1, num_layers):
            self._layers.append(self._prepend(layer))

    def solution(self, num_stages: int) -> Assignment | None:
        """Returns the best assignment with that many stages, of equals one with the fewest devices; None if none fits.

        Its groups are counted in single devices, not units.
        """
        layer = self._layers[num_stages - 1][:, 0, :]
        least = int(layer.min(initial=INFEASIBLE))
        if least >= INFEASIBLE:
            return None
        members = self._members[num_stages - 1]
        order = np.lexsort((members, self._used[:, members].sum(axis=0)))
        index = next(int(index) for index in order if layer[:, index].min() == least)
        kind = int(layer[:, index].argmin())
        return self._traced(num_stages, int(members[index]), kind)

    def _last_stage(self) -> IntArray:
        """Returns the layer of one stage: shape (kinds, blocks + 1, multisets)."""
        chain = self._chain
        best = np.full((chain.num_kinds, chain.num_blocks + 1, len(self._members[0])), INFEASIBLE, np.int64)
        for kind in range(chain.num_kinds):
            for units in self._choices(kind):
                index = self._indices[0][units * self._radix[kind]]
                best[kind, :, index] = self._cost(kind, None, units, 0, chain.num_blocks + 1)[:, -1]
        return best

    def _prepend(self, layer: int) -> IntArray:
        """Returns layer number `layer + 1`, from the one before."""
        chain = self._chain
        before, members = self._layers[layer - 1], self._members[layer - 1]
        best = np.full(
            (chain.num_kinds, chain.num_blocks + 1, len(self._members[layer])), INFEASIBLE, np.int64
        )
        for kind in range(chain.num_kinds):
            for units in self._choices(kind):
                has_units = self._used[kind, members] + units <= chain.counts[kind]
                for following in range(chain.num_kinds):
                    sources = np.flatnonzero(has_units & (self._used[following, members] > 0))
                    targets = self._indices[layer][members[sources] + units * self._radix[kind]]
                    if len(sources):
                        values = before[following][:, sources]
                        self._relax(best[kind], targets, values, (kind, following, units))
        return best

    def _relax(
        self, best: IntArray, targets: IntArray, values: IntArray, stage: tuple[int, int, int]
    ) -> None:
        """Lowers `best[:, targets]` to the cost of one stage prepended to `values`."""
        num_blocks = self._chain.num_blocks
        rows = max(1, min(num_blocks // 8, _TILE_VALUES // (len(targets) * (num_blocks + 1))))
        for first in range(0, num_blocks, rows):
            last = min(num_blocks, first + rows)
            cost = self._cost(*stage, first, last)
            least = self._combine(cost[:, :, None], values[None, first + 1 :, :]).min(axis=1)
            best[first:last, targets] = np.minimum(best[first:last, targets], least)

    def _cost(self, kind: int, following: int | None, units: int, first: int, last: int) -> IntArray:
        """Returns the costs of a stage for every start in `[first, last)` and every end after `first`.

        Shape (last - first, blocks - first); `INFEASIBLE` where the stage would be empty or does not fit.
        """
        chain = self._chain
        starts = np.arange(first, last)[:, None]
        ends = np.arange(first + 1, chain.num_blocks + 1)
        prefix = chain.prefix[kind]
        cost = prefix[ends] - prefix[starts]
        if following is not None:
            cost = cost + chain.transfer[kind, following, ends]
        if not self._latency and units * self._unit > 1:
            cost = -(-cost // (units * self._unit))
        return np.where((starts < ends) & (starts >= chain.first_start[kind, ends]), cost, INFEASIBLE)

    def _choices(self, kind: int) -> range:
        """Returns the numbers of units of a kind that one stage may have."""
        most = self._chain.counts[kind]
        return range(1, (most if self._replicate else min(1, most)) + 1)

    def _traced(self, num_stages: int, used: int, kind: int) -> Assignment:
        """Returns the assignment behind an entry of a layer."""
        cuts: list[int] = []
        groups: list[DeviceGroup] = []
        start = 0
        for layer in range(num_stages - 1, -1, -1):
            value = int(self._layers[layer][kind, start, self._indices[layer][used]])
            end, units, following = self._origin(layer, used, kind, start, value)
            groups.append(((kind, units * self._unit),))
            cuts.append(end)
            used -= units * self._radix[kind]
            start, kind = end, following
        return Assignment(tuple(cuts[:-1]), tuple(groups))

    def _origin(self, layer: int, used: int, kind: int, start: int, value: int) -> tuple[int, int, int]:
        """Returns the end and units of the first stage of an entry, and the kind of the second."""
        if layer == 0:
            return self._chain.num_blocks, int(self._used[kind, used]), kind
        for units in self._choices(kind):
            rest = used - units * self._radix[kind]
            if units > self._used[kind, used] or (index := self._indices[layer - 1][rest]) < 0:
                continue
            for following in range(self._chain.num_kinds):
                cost = self._cost(kind, following, units, start, start + 1)[0]
                total = self._combine(cost, self._layers[layer - 1][following, start + 1 :, index])
                found = np.flatnonzero(total == value)
                if len(found):
                    return start + 1 + int(found[0]), units, following
        msg = f"no stage costs {value} from block {start} on {kind}"
        raise RuntimeError(msg)


def operations(chain: Chain, num_layers: int, *, replicate: bool) -> int:
    """Returns the approximate number of values that a search compares.

    Args:
        chain: The blocks, its counts in units.
        num_layers: Most stages.
        replicate: Whether a stage may have several units.
    """
    multisets = prod(count + 1 for count in chain.counts)
    # With r units of a kind in a stage, u + 1 - r of its u + 1 counts remain for the stages after it.
    moves = sum(
        multisets * (count + 1 - units) // (count + 1)
        for count in chain.counts
        for units in range(1, (count if replicate else min(count, 1)) + 1)
    )
    # Without replicas each multiset belongs to one layer alone; with them, to about half of all.
    layers = (num_layers + 1) // 2 if replicate else 1
    return layers * moves * chain.num_kinds * chain.num_blocks**2 // 2

"""Cutting a row of blocks into stages, as an exact optimisation problem over integers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate


@dataclass(frozen=True)
class ChainProblem:
    """A row of `m` blocks that may be cut between any two. No slots: it keeps its sums.

    A stage of blocks `[a, b)` costs `sum(cost[a:b]) + transfer[b]`, where `transfer[b]` is the time to
    send what is alive after block `b - 1` (0 at the end). Since a stage's cost is a difference of two
    terms, the best start for a given end under a bound on the cost is simply the latest reachable
    one, which makes the question "is there a cut into k stages of cost <= T?" answerable in O(k m), and
    the least T follows by bisection over integers: exact, and O(k m log T) where the usual dynamic
    programme (PipeDream, arXiv 1806.03377; PipeEdge, arXiv 2110.14895) takes O(k m^2).

    Attributes:
        cost: Time of each block, in any integer unit.
        transfer: `m + 1` figures; `transfer[b]` is added to a stage that ends at `b`.
        num_bytes: `m + 1` figures; bytes that cross position `b`. The ends do not count.
        weights: For each block the weights that it reads, as positions in `weight_bytes`.
        weight_bytes: Size of each weight; a stage holds each of its weights once.
        memory_bytes: Bound on a stage's weights, or None.
    """

    cost: Sequence[int]
    transfer: Sequence[int]
    num_bytes: Sequence[int]
    weights: Sequence[Sequence[int]] = ()
    weight_bytes: Sequence[int] = ()
    memory_bytes: int | None = None
    _minimal: dict[int, int | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_blocks(self) -> int:
        """The number of blocks, `m`."""
        return len(self.cost)

    @cached_property
    def prefix(self) -> list[int]:
        """Cost of all blocks before each position: `m + 1` figures."""
        return list(accumulate(self.cost, initial=0))

    @cached_property
    def earliest_start(self) -> list[int]:
        """For each end `b`, the first start whose stage's weights fit; `b` itself if even one block does not.

        A window slides over the blocks and counts each weight once however many blocks share it.
        """
        if self.memory_bytes is None:
            return [0] * (self.num_blocks + 1)
        starts = [0]
        users: dict[int, int] = {}
        held = 0
        start = 0
        for end in range(1, self.num_blocks + 1):
            for weight in set(self.weights[end - 1]):
                users[weight] = users.get(weight, 0) + 1
                held += self.weight_bytes[weight] if users[weight] == 1 else 0
            while held > self.memory_bytes and start < end:
                for weight in set(self.weights[start]):
                    users[weight] -= 1
                    held -= self.weight_bytes[weight] if users[weight] == 0 else 0
                start += 1
            starts.append(start)
        return starts

    def stage_cost(self, start: int, end: int) -> int:
        """Returns the cost of a stage of blocks `[start, end)`."""
        return self.prefix[end] - self.prefix[start] + self.transfer[end]

    def feasible(self, num_stages: int, bound: int) -> bool:
        """Whether exactly `num_stages` stages can each cost at most `bound` and fit in memory."""
        m = self.num_blocks
        prefix, transfer, earliest = self.prefix, self.transfer, self.earliest_start
        reachable = [False] * (m + 1)
        reachable[0] = True
        for stage in range(1, num_stages + 1):
            latest = -1
            following = [False] * (m + 1)
            for end in range(1, m + 1):
                if reachable[end - 1]:
                    latest = end - 1
                following[end] = (
                    latest >= earliest[end]
                    and latest >= 0
                    and prefix[end] - prefix[latest] + transfer[end] <= bound
                )
            if stage == num_stages:
                return following[m]
            reachable = following
        return False

    def minimal_bound(self, num_stages: int) -> int | None:
        """Returns the least possible cost of the slowest of `num_stages` stages; None if memory forbids all."""
        if num_stages not in self._minimal:
            self._minimal[num_stages] = self._search_bound(num_stages)
        return self._minimal[num_stages]

    def _search_bound(self, num_stages: int) -> int | None:
        high = self.prefix[-1] + max(self.transfer)
        if not self.feasible(num_stages, high):
            return None
        low = max(max(self.cost, default=0), -(-self.prefix[-1] // num_stages))
        while low < high:
            middle = (low + high) // 2
            if self.feasible(num_stages, middle):
                high = middle
            else:
                low = middle + 1
        return low

    def fewest_bytes(self, num_stages: int, bound: int) -> tuple[int, tuple[int, ...]] | None:
        """Returns the fewest bytes over all cuts into `num_stages` under the bound, and one such cut.

        One layer for each stage; the starts that an end allows are an interval, so each layer is m
        range minima on a sparse table: O(k m log m). Of equal cuts, the one with the latest last cut wins.
        """
        m = self.num_blocks
        prefix, transfer, earliest = self.prefix, self.transfer, self.earliest_start
        unreachable = sum(self.num_bytes) + 1
        best = [0] + [unreachable] * m
        choices: list[list[int]] = []
        for stage in range(1, num_stages + 1):
            table = _RangeMinimum(best)
            layer = [unreachable] * (m + 1)
            choice = [-1] * (m + 1)
            for end in range(stage, m + 1):
                low = max(earliest[end], bisect_left(prefix, prefix[end] + transfer[end] - bound, 0, end))
                if low >= end:
                    continue
                value, start = table.query(low, end)
                if value < unreachable:
                    layer[end] = value + (self.num_bytes[end] if end < m else 0)
                    choice[end] = start
            best = layer
            choices.append(choice)
        if best[m] >= unreachable:
            return None
        cuts: list[int] = []
        position = m
        for choice in reversed(choices):
            position = choice[position]
            cuts.append(position)
        return best[m], tuple(reversed(cuts[:-1]))


class _RangeMinimum:
    """Minimum of any half-open interval of a list of non-negative integers, with its latest position.

    Value and position are packed into one integer, so that building the table stays in C.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self._size = len(values)
        packed = [value * self._size + (self._size - 1 - i) for i, value in enumerate(values)]
        self._levels = [packed]
        width = 1
        while 2 * width <= self._size:
            level = self._levels[-1]
            self._levels.append(list(map(min, level, level[width:])))
            width *= 2

    def query(self, start: int, end: int) -> tuple[int, int]:
        """Returns the minimum over `[start, end)` and the last position that has it."""
        depth = (end - start).bit_length() - 1
        level = self._levels[depth]
        packed = min(level[start], level[end - (1 << depth)])
        value, reversed_position = divmod(packed, self._size)
        return value, self._size - 1 - reversed_position

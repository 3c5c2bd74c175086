"""Costs of a stage on a device group, as functions of its start and end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from onnxmesh.planning.search.int_array import IntArray

Positions: TypeAlias = "IntArray | int"
"""One position in a chain of blocks, or an array of them."""


@dataclass(frozen=True, eq=False)
class StageCosts:
    """Times of a stage of blocks `[start, end)`. Without slots, since sums are cached.

    A device is busy with a request while it computes and while it sends, so the period of a stage on `c` devices of
    one kind is `(compute + transfer) / c`, rounded up to whole units; rounding up is monotonic, so the optimum stays
    optimal. The rates of mixed devices add up. Period and delay never fall as `start` moves back, which the searches
    rely on; floating-point division and summation preserve that.

    Attributes:
        prefix: Shape (kinds, blocks + 1): time of all blocks before each position, for each kind of the group.
        transfer: Shape (kinds, blocks + 1): time to send the boundary at each position to the slowest
            receiver; 0 at the end.
        counts: Number of devices of each kind.
        first_start: Shape (blocks + 1,): for each end, the first start with which the stage fits the memory
            of every kind; the end itself if none does.
    """

    prefix: IntArray
    transfer: IntArray
    counts: tuple[int, ...]
    first_start: IntArray

    def period(self, start: Positions, end: Positions) -> IntArray:
        """Returns the time from one request to the next with all devices busy."""
        if len(self.counts) == 1:
            cost = self.prefix[0][end] - self.prefix[0][start] + self.transfer[0][end]
            return np.asarray(cost if self.counts[0] == 1 else -(-cost // self.counts[0]))
        rate: np.typing.NDArray[np.float64] | float = 0.0
        for prefix, transfer, count in zip(self.prefix, self.transfer, self.counts, strict=True):
            rate = rate + count / np.maximum(prefix[end] - prefix[start] + transfer[end], 1)
        return np.ceil(1 / rate).astype(np.int64)

    def delay(self, start: Positions, end: Positions) -> IntArray:
        """Returns the time that the stage adds to the latency of a request, in the worst case."""
        return np.asarray(self.slowest[end] - self.slowest[start] + self.sending[end])

    @cached_property
    def slowest(self) -> IntArray:
        """Shape (blocks + 1,): `prefix` with each block on the kind that is slowest for it."""
        if len(self.counts) == 1:
            return np.asarray(self.prefix[0])
        return np.concatenate(([0], np.diff(self.prefix, axis=1).max(axis=0).cumsum()))

    @cached_property
    def sending(self) -> IntArray:
        """Shape (blocks + 1,): `transfer` from the slowest kind."""
        return np.asarray(self.transfer.max(axis=0))

    def starts_within(self, bound: int) -> IntArray:
        """Returns for each end the first start that fits and keeps the period within the bound; the end if none does."""
        ends = np.arange(self.prefix.shape[1])
        if len(self.counts) == 1:
            least = self.prefix[0] + self.transfer[0] - bound * self.counts[0]
            found = np.searchsorted(self.prefix[0], least)
        else:
            found, high = np.zeros_like(ends), ends.copy()
            while (open_ := found < high).any():
                middle = (found + high) // 2
                within = self.period(middle, ends) <= bound
                high = np.where(open_ & within, middle, high)
                found = np.where(open_ & ~within, middle + 1, found)
        return np.asarray(np.minimum(np.maximum(found, self.first_start), ends))

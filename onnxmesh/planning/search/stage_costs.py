"""What a stage costs, wherever it starts and ends, for the devices that hold it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from onnxmesh.planning.search.int_array import IntArray

Positions: TypeAlias = "IntArray | int"
"""A position in a row of blocks, or many."""


@dataclass(frozen=True, eq=False)
class StageCosts:
    """The times of a stage of blocks `[start, end)` as functions of both. No slots: it keeps its sums.

    A device is busy with a request while it computes and while it sends, so a stage that is held by `c` devices of
    one kind takes a request every `(compute + transfer) / c`, rounded up to whole units: rounding up keeps
    the order of what it rounds, so the least slowest stage stays the least. Of mixed devices the rates add up.
    Both never shrink as `start` moves back, which is what searches rely on; so do floating-point divisions and sums.

    Attributes:
        prefix: Shape (kinds, blocks + 1): time of all blocks before each position, for each kind of group.
        transfer: Shape (kinds, blocks + 1): time to send what crosses each position to the slowest
            receiver; 0 at the end.
        counts: How many devices of each kind.
        first_start: Shape (blocks + 1,): for each end, the first start with which the stage fits the memory
            of every group; the end itself if none does.
    """

    prefix: IntArray
    transfer: IntArray
    counts: tuple[int, ...]
    first_start: IntArray

    def period(self, start: Positions, end: Positions) -> IntArray:
        """Returns the time from one request to the next, all devices busy."""
        if len(self.counts) == 1:
            cost = self.prefix[0][end] - self.prefix[0][start] + self.transfer[0][end]
            return np.asarray(cost if self.counts[0] == 1 else -(-cost // self.counts[0]))
        rate: np.typing.NDArray[np.float64] | float = 0.0
        for prefix, transfer, count in zip(self.prefix, self.transfer, self.counts, strict=True):
            rate = rate + count / np.maximum(prefix[end] - prefix[start] + transfer[end], 1)
        return np.ceil(1 / rate).astype(np.int64)

    def delay(self, start: Positions, end: Positions) -> IntArray:
        """Returns the time that the stage adds to one request alone, in the worst case."""
        return np.asarray(self.slowest[end] - self.slowest[start] + self.sending[end])

    @cached_property
    def slowest(self) -> IntArray:
        """Shape (blocks + 1,): as `prefix`, each block on whichever group is slowest at it."""
        if len(self.counts) == 1:
            return np.asarray(self.prefix[0])
        return np.concatenate(([0], np.diff(self.prefix, axis=1).max(axis=0).cumsum()))

    @cached_property
    def sending(self) -> IntArray:
        """Shape (blocks + 1,): as `transfer`, from whichever group is slowest at it."""
        return np.asarray(self.transfer.max(axis=0))

    def starts_within(self, bound: int) -> IntArray:
        """Returns for each end the first start that fits and keeps the period within the bound; the end if none."""
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

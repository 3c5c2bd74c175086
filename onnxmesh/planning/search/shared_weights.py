"""Weights that several blocks read, and the copies that a cut makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from onnxmesh.planning.search.int_array import IntArray

_MOST = 32
"""Only the largest count: a cut is not moved for the sake of small constants."""


class SharedWeights:
    """What copies of weights cost a cut.

    A stage `[a, b)` is charged for each weight that it reads and that a later one reads too: that stage then holds a
    copy. For a given end these are the weights with a reader on both sides of it, and a stage is charged
    for one as soon as it starts at or before its last reader before the end.

    Args:
        readers: For each block the weights that it reads.
        costs: What a copy of each weight costs.
    """

    def __init__(self, readers: Sequence[Sequence[int]], costs: Sequence[int]) -> None:
        num_blocks = len(readers)
        blocks: dict[int, list[int]] = {}
        for block, weights in enumerate(readers):
            for weight in weights:
                blocks.setdefault(weight, []).append(block)
        tied = [weight for weight, where in blocks.items() if len(where) > 1 and costs[weight] > 0]
        tied = sorted(tied, key=lambda weight: (-costs[weight], weight))[:_MOST]
        # Last reader before each end; -1 where no reader follows.
        self._last = np.full((len(tied), num_blocks + 1), -1, np.int64)
        for row, weight in zip(self._last, tied, strict=True):
            where = blocks[weight]
            for reader, following in pairwise(where):
                row[reader + 1 : following + 1] = reader
        self._costs = np.array([costs[weight] for weight in tied], np.int64)

    def copies(self, starts: IntArray, end: int) -> IntArray:
        """Returns what stages from many starts to one end are charged."""
        charged = starts[None, :] <= self._last[:, end, None]
        return np.asarray((charged * self._costs[:, None]).sum(axis=0))

    def steps(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yields, from the latest starts to the earliest, where a charge begins to apply and what it is.

        Each figure is an array over ends: stages that start at `start` or later, and before the start of the
        step before it, are charged `copies`.
        """
        order = np.argsort(-self._last, axis=0, kind="stable")
        lasts = np.take_along_axis(self._last, order, axis=0)
        charged = np.zeros(self._last.shape[1], np.int64)
        for row, weights in zip(lasts, order, strict=True):
            yield row + 1, charged
            charged = charged + np.where(row >= 0, self._costs[weights], 0)
        yield np.zeros_like(charged), charged

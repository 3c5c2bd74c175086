"""Shared weights: weights that several blocks read, and the cost of their copies when a cut separates these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from onnxmesh.planning.search.int_array import IntArray

_MAX_SHARED_WEIGHTS = 32
"""Only the largest shared weights are considered: a cut is not moved because of small constants."""


class SharedWeights:
    """Costs of copies of weights.

    A stage `[a, b)` is charged for each weight that it reads and that a later stage reads too, which then holds a
    copy. For a given end these are the weights with readers on both sides of it; a stage is charged for one if it
    starts at or before the weight's last reader before the end.

    Args:
        readers: For each block the weights that it reads.
        costs: Cost of a copy of each weight.
    """

    def __init__(self, readers: Sequence[Sequence[int]], costs: Sequence[int]) -> None:
        num_blocks = len(readers)
        blocks: dict[int, list[int]] = {}
        for block, weights in enumerate(readers):
            for weight in weights:
                blocks.setdefault(weight, []).append(block)
        tied = [weight for weight, where in blocks.items() if len(where) > 1 and costs[weight] > 0]
        tied = sorted(tied, key=lambda weight: (-costs[weight], weight))[:_MAX_SHARED_WEIGHTS]
        # Last reader before each end; -1 where no reader follows the end.
        self._last = np.full((len(tied), num_blocks + 1), -1, np.int64)
        for last, weight in zip(self._last, tied, strict=True):
            where = blocks[weight]
            for reader, following in pairwise(where):
                last[reader + 1 : following + 1] = reader
        self._costs = np.array([costs[weight] for weight in tied], np.int64)

    def copies(self, starts: IntArray, end: int) -> IntArray:
        """Returns the charges of stages with many starts and one end."""
        charged = starts[None, :] <= self._last[:, end, None]
        return np.asarray((charged * self._costs[:, None]).sum(axis=0))

    def steps(self) -> Iterator[tuple[IntArray, IntArray]]:
        """Yields (start, charge), from the latest starts to the earliest, each an array over ends.

        A stage that starts at `start` or later, and before the start of the preceding step, is charged `charge`.
        """
        order = np.argsort(-self._last, axis=0, kind="stable")
        lasts = np.take_along_axis(self._last, order, axis=0)
        charged = np.zeros(self._last.shape[1], np.int64)
        for last, weights in zip(lasts, order, strict=True):
            yield last + 1, charged
            charged = charged + np.where(last >= 0, self._costs[weights], 0)
        yield np.zeros_like(charged), charged

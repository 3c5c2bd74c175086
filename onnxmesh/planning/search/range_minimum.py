"""Range minimum queries over one array, many intervals at once."""

from __future__ import annotations

import numpy as np

from onnxmesh.planning.search.int_array import INFEASIBLE, IntArray


class RangeMinimum:
    """Sparse table with the minimum of every interval whose length is a power of two.

    Any interval is the union of two of them: O(n log n) to build, O(1) for a query.
    """

    def __init__(self, values: IntArray) -> None:
        levels = [values]
        width = 1
        while 2 * width <= len(values):
            level = levels[-1].copy()
            level[:-width] = np.minimum(level[:-width], level[width:])
            levels.append(level)
            width *= 2
        self._levels = np.array(levels)

    def of(self, starts: IntArray, ends: IntArray) -> IntArray:
        """Returns the minimum over each `[start, end)`; `INFEASIBLE` for an empty interval."""
        lengths = ends - starts
        depth = np.frexp(np.maximum(lengths, 1))[1] - 1
        left = self._levels[depth, np.minimum(starts, self._levels.shape[1] - 1)]
        right = self._levels[depth, np.maximum(ends - (1 << depth), 0)]
        return np.where(lengths > 0, np.minimum(left, right), INFEASIBLE)

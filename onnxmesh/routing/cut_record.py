"""Whether cutting requests into micro-batches has proved to be faster. Pure."""

from __future__ import annotations

from onnxmesh.routing.micro_batches import LEAST_GAIN

TRY_AGAIN = 16
"""One request of so many goes the way that was slower, for that may have changed."""

_SMOOTHING = 0.25


class CutRecord:
    """How long requests of about one size took, whole and cut.

    A plan counts on measured runs and ways; it knows nothing of processor time that gateways and workers take from each other, and of
    stages that others keep at work anyway. So what comes of it is held against what comes of leaving it.
    """

    def __init__(self) -> None:
        self._num = 0
        self._row_s: dict[bool, float] = {}

    def next_is_cut(self) -> bool:
        """Returns whether the next request that is worth cutting by plan is cut."""
        self._num += 1
        whole_s, cut_s = self._row_s.get(False), self._row_s.get(True)
        if whole_s is None or cut_s is None:
            return whole_s is not None
        is_faster = cut_s <= (1.0 - LEAST_GAIN) * whole_s
        return is_faster != (self._num % TRY_AGAIN == 0)

    def took(self, row_s: float, *, cut: bool) -> None:
        """Takes how long a request took for each of its rows."""
        known_s = self._row_s.get(cut, row_s)
        self._row_s[cut] = known_s + _SMOOTHING * (row_s - known_s)

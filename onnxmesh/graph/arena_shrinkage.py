"""When ONNX Runtime's arena gives memory back."""

from __future__ import annotations

from math import inf
from time import monotonic

import onnxruntime

from onnxmesh.deadline import Clock

EVERY_S = 10.0
"""What a run needs after a shrinkage is asked of the kernel again, page by page: a thousandth of the time at most."""


class ArenaShrinkage:
    """Tells which runs end with a shrinkage of the arena of the host's memory. Several threads may use it at once.

    An arena keeps all that it ever took: the outputs of the largest batch there ever was, although all later ones may be
    computed elsewhere. So the run after one that left large outputs there gives back what is not in use; what the
    arena took first it keeps.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._is_due = False
        self._last_s = -inf

    def left_outputs(self) -> None:
        """Takes that a run left large outputs in the arena."""
        self._is_due = True

    def options(self) -> onnxruntime.RunOptions | None:
        """Returns what the next run is to be done with; None: it is one like any other."""
        if not self._is_due or self._clock() < self._last_s + EVERY_S:
            return None
        self._is_due = False
        self._last_s = self._clock()
        return self._options

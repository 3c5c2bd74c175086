"""Shrinkage of ONNX Runtime's memory arena: which runs release unused memory."""

from __future__ import annotations

from time import monotonic

import onnxruntime

from onnxmesh.deadline import Clock

SHRINK_WINDOW_S = 10.0
"""Window over which the largest output is observed."""


class ArenaShrinkage:
    """Decides which runs shrink the arena of the host's memory when they end. Thread-safe.

    An arena never releases memory by itself: it stays as large as the largest batch ever required. So where the
    largest output of a window is at most half of the largest one before, the next run ends with a shrinkage, which
    releases all chunks that are not in use. Runs of steady size do not shrink it: they would allocate the memory
    again. The first allocation of the arena is never released.

    Args:
        clock: Monotonic clock in seconds.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._largest_bytes = 0
        self._recent_bytes = 0
        self._window_ends_s = clock() + SHRINK_WINDOW_S

    def observe_output(self, num_bytes: int) -> None:
        """Records the size of an output that a run allocated in the arena."""
        self._recent_bytes = max(self._recent_bytes, num_bytes)

    def run_options(self) -> onnxruntime.RunOptions | None:
        """Returns the options of the next run; None for a run without shrinkage."""
        now_s = self._clock()
        if now_s < self._window_ends_s:
            return None
        recent_bytes, self._recent_bytes = self._recent_bytes, 0
        self._window_ends_s = now_s + SHRINK_WINDOW_S
        is_due = 2 * recent_bytes <= self._largest_bytes and self._largest_bytes > 0
        self._largest_bytes = recent_bytes if is_due else max(self._largest_bytes, recent_bytes)
        return self._options if is_due else None

"""When ONNX Runtime's arena gives memory back."""

from __future__ import annotations

from time import monotonic

import onnxruntime

from onnxmesh.deadline import Clock

SHRINK_WINDOW_S = 10.0
"""What no run needed for so long is given back."""


class ArenaShrinkage:
    """Tells which runs end with a shrinkage of the arena of the host's memory. Several threads may use it at once.

    An arena keeps all that it ever took: the outputs of the largest batch there ever was, although all later ones may be
    smaller, or computed elsewhere. So where the largest output that runs left there within a window is at most half of the largest one
    before it, a run ends with giving back what is not in use. Runs that need as much each time do not: they would have to ask for it
    again. What the arena took first it keeps.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._largest_bytes = 0
        self._recent_bytes = 0
        self._window_ends_s = clock() + SHRINK_WINDOW_S

    def observe_output(self, num_bytes: int) -> None:
        """Takes that a run left an output of so many bytes in the arena."""
        self._recent_bytes = max(self._recent_bytes, num_bytes)

    def run_options(self) -> onnxruntime.RunOptions | None:
        """Returns what the next run is to be done with; None: it is one like any other."""
        now_s = self._clock()
        if now_s < self._window_ends_s:
            return None
        recent_bytes, self._recent_bytes = self._recent_bytes, 0
        self._window_ends_s = now_s + SHRINK_WINDOW_S
        is_due = 2 * recent_bytes <= self._largest_bytes and self._largest_bytes > 0
        self._largest_bytes = recent_bytes if is_due else max(self._largest_bytes, recent_bytes)
        return self._options if is_due else None

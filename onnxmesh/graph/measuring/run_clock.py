"""The clock that times runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from onnxmesh.device.execution_provider import CPU


def run_clock(threads: int, providers: Sequence[str]) -> Callable[[], float]:
    """Returns the clock, in seconds, that other processes disturb least.

    A run on one thread of the CPU is computed by the calling thread and timed by its processor time, which does not
    advance while other processes run. Any other run is timed by wall time.

    Args:
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers.
    """
    return time.thread_time if threads == 1 and tuple(providers) == (CPU,) else time.perf_counter

"""The clock by which runs are timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from onnxmesh.device.execution_provider import CPU


def run_clock(threads: int, providers: Sequence[str]) -> Callable[[], float]:
    """Returns a clock in seconds that other processes disturb as little as can be.

    One thread of the CPU computes in the thread that calls, whose processor time does not count while others have
    the processor. Anything else is timed by the wall.

    Args:
        threads: Threads within an operator.
        providers: ONNX Runtime execution providers.
    """
    return time.thread_time if threads == 1 and tuple(providers) == (CPU,) else time.perf_counter

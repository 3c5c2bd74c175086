"""The clock of runs."""

from __future__ import annotations

import time

import pytest

from onnxmesh.device.execution_provider import CPU, CUDA
from onnxmesh.graph.measuring.run_clock import run_clock


@pytest.mark.parametrize(
    ("threads", "providers", "clock"),
    [(1, (CPU,), time.thread_time), (2, (CPU,), time.perf_counter), (1, (CUDA, CPU), time.perf_counter)],
)
def test_run_clock_is_processor_time_of_one_cpu_thread_only(threads, providers, clock):
    """Other runs compute in other threads or on another device."""
    assert run_clock(threads, providers) is clock

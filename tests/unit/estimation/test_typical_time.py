"""Typical durations under interference."""

from __future__ import annotations

from onnxmesh.estimation.typical_time import NUM_KEPT, TypicalTime


def test_typical_time_passes_over_slow_runs():
    typical = TypicalTime()
    for seconds in (9.0, 1.1, 1.0, 8.0, 1.2):
        typical.observe(seconds)
    assert typical.seconds == 1.1
    assert typical.last_s == 1.2


def test_typical_time_drops_runs_before_the_last_few():
    typical = TypicalTime()
    typical.observe(0.001)
    for _ in range(NUM_KEPT):
        typical.observe(2.0)
    assert len(typical) == NUM_KEPT
    assert typical.seconds == 2.0

"""Cost of runs of a stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.queueing.run_cost import RunCost


@given(st.floats(0.0, 1.0), st.floats(1e-4, 1.0), st.lists(st.integers(1, 64), min_size=1, max_size=50))
def test_run_cost_restores_a_line(fixed_s, row_s, runs):
    """From two sizes on both costs are known; from one, their sum."""
    cost = RunCost()
    for rows in runs:
        cost.observe_run(rows, fixed_s + row_s * rows)
    assert cost.run_s(runs[0]) == pytest.approx(fixed_s + row_s * runs[0], rel=1e-3)
    if len(set(runs)) > 1:
        assert cost.line == pytest.approx((fixed_s, row_s), rel=1e-2, abs=1e-2 * (fixed_s + row_s))

"""The batch delay of a stage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.worker.queueing.batch_delay import MAX_DELAY_S, BatchDelay


def learned(fixed_s, per_row_s, gap_s, max_s=None):
    delay = BatchDelay(max_s)
    for number in range(60):
        delay.observe_arrival(number * gap_s)
        rows = 1 + number % 4
        delay.observe_run(rows, fixed_s + per_row_s * rows)
    return delay


@given(st.floats(1e-5, 1e-1), st.floats(1e-6, 1e-1))
def test_batch_delay_learns_costs_from_runs_of_different_sizes(fixed_s, per_row_s):
    """The fixed cost and the cost of a row."""
    found = learned(fixed_s, per_row_s, 1.0).cost
    assert found == pytest.approx((fixed_s, per_row_s), rel=1e-3, abs=1e-7)


def test_batch_delay_is_zero_before_observations():
    """Without arrivals, without runs, and after runs of one size."""
    assert BatchDelay().delay_s(1, 1) == 0
    delay = BatchDelay()
    for number in range(10):
        delay.observe_arrival(number * 1e-6)
        assert delay.delay_s(1, 1) == 0
        delay.observe_run(2, 0.01)
    assert delay.delay_s(1, 1) == 0


@given(
    fixed_s=st.floats(1e-5, 1e-2),
    per_row_s=st.floats(1e-7, 1e-2),
    gap_s=st.floats(1e-6, 1e-1),
    num_requests=st.integers(1, 32),
    max_s=st.one_of(st.none(), st.floats(0, 1e-2)),
)
def test_batch_delay_is_positive_only_where_waiting_gains(fixed_s, per_row_s, gap_s, num_requests, max_s):
    """The next request saves more than the queued ones lose."""
    delay_s = learned(fixed_s, per_row_s, gap_s, max_s).delay_s(num_requests, num_requests)
    assert 0 <= delay_s <= (MAX_DELAY_S if max_s is None else max_s)
    if delay_s > 0:
        assert fixed_s - gap_s >= num_requests * (gap_s + per_row_s) - 1e-3 * fixed_s


def test_batch_delay_is_positive_for_costly_runs_and_frequent_requests():
    """Zero where requests are rare, where rows make up the cost, or where the limit is zero."""
    assert learned(0.004, 1e-5, 1e-4).delay_s(1, 1) == pytest.approx(0.002, rel=0.01)
    assert learned(0.004, 1e-5, 1e-2).delay_s(1, 1) == 0
    assert learned(1e-5, 0.004, 1e-4).delay_s(1, 1) == 0
    assert learned(0.004, 1e-5, 1e-4, max_s=0.0).delay_s(1, 1) == 0

"""How long a stage waits for more requests."""

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
def test_costs_are_learned_from_runs_of_different_sizes(fixed_s, per_row_s):
    """What a run costs for itself, and what each row costs."""
    found = learned(fixed_s, per_row_s, 1.0).cost
    assert found == pytest.approx((fixed_s, per_row_s), rel=1e-3, abs=1e-7)


def test_nobody_waits_before_anything_is_known():
    """Neither without arrivals, nor without runs, nor after runs of one size."""
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
def test_waiting_is_chosen_only_where_it_gains(fixed_s, per_row_s, gap_s, num_requests, max_s):
    """The next request, when it is expected, is spared more than those that wait for it lose."""
    delay_s = learned(fixed_s, per_row_s, gap_s, max_s).delay_s(num_requests, num_requests)
    assert 0 <= delay_s <= (MAX_DELAY_S if max_s is None else max_s)
    if delay_s > 0:
        assert fixed_s - gap_s >= num_requests * (gap_s + per_row_s) - 1e-3 * fixed_s


def test_a_stage_with_costly_runs_and_many_requests_waits_for_them():
    """And does not where requests are rare, where rows cost all there is, or where it may not."""
    assert learned(0.004, 1e-5, 1e-4).delay_s(1, 1) == pytest.approx(0.002, rel=0.01)
    assert learned(0.004, 1e-5, 1e-2).delay_s(1, 1) == 0
    assert learned(1e-5, 0.004, 1e-4).delay_s(1, 1) == 0
    assert learned(0.004, 1e-5, 1e-4, max_s=0.0).delay_s(1, 1) == 0

"""Run times of a stage by its rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.batching.run_times import RunTimes


@given(st.floats(0.0, 1.0), st.floats(1e-4, 1.0), st.lists(st.integers(1, 64), min_size=1, max_size=50))
def test_a_line_through_usual_times_is_found_again(fixed_s, row_s, runs):
    """From two sizes on both costs are known; from one, their sum. A slow run of each size counts for nothing."""
    times = RunTimes()
    for rows in runs:
        for slower in (3, 1):
            times.ran(rows, slower * (fixed_s + row_s * rows))
    assert times.least_rows == min(runs)
    fixed, per_row = times.line
    sizes_left = list(times._usual)
    for rows in sizes_left:
        assert fixed + per_row * rows == pytest.approx(fixed_s + row_s * rows, rel=1e-3)
    if len(sizes_left) > 1:
        assert (fixed, per_row) == pytest.approx((fixed_s, row_s), rel=1e-2, abs=1e-2 * (fixed_s + row_s))


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-6, 1.0)), min_size=1, max_size=50))
def test_costs_are_never_negative(runs):
    """However the measured times lie; and no size usually takes less than the line says."""
    times = RunTimes()
    assert times.line == (0.0, 0.0)
    for rows, seconds in runs:
        times.ran(rows, seconds)
        fixed, per_row = times.line
        assert min(fixed, per_row) >= 0.0
        for size, usual in times._usual.items():
            assert fixed + per_row * size <= usual.seconds * (1 + 1e-6)


def test_a_size_that_was_run_at_a_bad_moment_does_not_bend_the_line():
    """However far above the others it is."""
    times = RunTimes()
    for rows, seconds in ((32, 0.032), (8, 0.2), (16, 0.016)):
        times.ran(rows, seconds)
    assert times.line == pytest.approx((0.0, 0.001), abs=1e-9)

"""Duration of a run as a linear function of its number of rows."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.estimation.linear_cost import NUM_SIZES, LinearCost

runs = st.dictionaries(st.integers(1, 200), st.floats(1e-4, 10.0), min_size=1, max_size=NUM_SIZES)


def cost_of(times):
    cost = LinearCost()
    for rows, seconds in times.items():
        cost.observe(rows, seconds)
    return cost


def every_line_below(points):
    """Lines that touch points, by trial of all pairs: the slow and obvious way."""
    lines = [(0.0, min(seconds / rows for rows, seconds in points))]
    if len(points) > 1:
        lines.append((min(seconds for _, seconds in points), 0.0))
    for (rows, seconds), (other_rows, other_s) in combinations(points, 2):
        per_row = (other_s - seconds) / (other_rows - rows)
        lines.append((seconds - per_row * rows, per_row))
    return [
        line
        for line in lines
        if min(line) >= 0.0
        and all(line[0] + line[1] * rows <= seconds * (1.0 + 1e-9) for rows, seconds in points)
    ]


def test_linear_cost_of_nothing_is_zero():
    assert LinearCost().line == (0.0, 0.0)
    assert LinearCost().run_s(7) == 0.0
    assert LinearCost().least_rows == 0


def test_linear_cost_of_one_size_has_no_fixed_part():
    cost = cost_of({4: 2.0})
    assert cost.line == (0.0, 0.5)
    assert cost.run_s(8) == 4.0
    assert cost.least_rows == 4


def test_linear_cost_finds_the_line_of_exact_runs():
    cost = cost_of({rows: 0.25 + 0.5 * rows for rows in (1, 2, 8)})
    assert cost.line == pytest.approx((0.25, 0.5))
    assert cost.least_rows == 1


def test_linear_cost_is_not_bent_by_a_slow_size():
    cost = cost_of({1: 1.5, 2: 2.5, 3: 90.0, 4: 4.5})
    assert cost.line == pytest.approx((0.5, 1.0))


def test_linear_cost_follows_newer_runs():
    cost = cost_of({1: 1.0})
    for _ in range(5):
        cost.observe(1, 3.0)
    assert cost.line == (0.0, 3.0)


def test_linear_cost_evicts_the_size_not_seen_for_longest():
    cost = LinearCost()
    cost.observe(1, 0.001)
    for rows in range(2, NUM_SIZES + 1):
        cost.observe(rows, float(rows))
    assert cost.run_s(100) < 1.0
    cost.observe(NUM_SIZES + 1, float(NUM_SIZES + 1))
    assert cost.line == pytest.approx((0.0, 1.0))
    assert cost.least_rows == 1


def test_linear_cost_leaves_out_a_run_of_no_rows():
    cost = cost_of({2: 1.0})
    cost.observe(0, 0.1)
    assert cost.line == (0.0, 0.5)
    assert cost.least_rows == 2


@given(runs)
def test_linear_cost_is_the_highest_line_below_all_runs(times):
    points = sorted(times.items())
    middle = sum(times) / len(times)
    fixed, per_row = cost_of(times).line
    assert fixed >= 0.0
    assert per_row >= 0.0
    assert all(fixed + per_row * rows <= seconds * (1.0 + 1e-9) for rows, seconds in points)
    highest = max(line[0] + line[1] * middle for line in every_line_below(points))
    assert fixed + per_row * middle == pytest.approx(highest, rel=1e-6)

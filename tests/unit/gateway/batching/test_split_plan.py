"""The number of micro-batches of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import WorkerId
from services.gateway.batching.split_plan import (
    FRAME_S,
    MAX_MICRO_BATCHES,
    MIN_GAIN,
    Leg,
    _total_s,
    best_num_micro_batches,
    num_micro_batches_to_try,
    rows_of_micro_batches,
)

seconds = st.floats(0.0, 0.1)
legs = st.builds(
    Leg,
    worker=st.sampled_from([WorkerId(name) for name in "abc"]),
    fixed_s=seconds,
    row_s=seconds,
    least_rows=st.integers(1, 64),
    latency_s=seconds,
    wire_row_s=seconds,
)


def leg(worker, fixed_s=0.0, row_s=0.001, least_rows=1, **link):
    return Leg(worker=WorkerId(worker), fixed_s=fixed_s, row_s=row_s, least_rows=least_rows, **link)


@given(st.integers(1, 512), st.lists(legs, min_size=2, max_size=5))
def test_best_num_micro_batches_has_the_least_time_and_a_sufficient_gain(rows, route):
    """By the time of a pipeline; never into more num than rows, nor far smaller ones than were measured."""
    num = best_num_micro_batches(rows, route)
    assert 1 <= num <= min(MAX_MICRO_BATCHES, rows)
    least = max(leg.least_rows for leg in route)
    if num > 1:
        assert _total_s(rows, num, route) <= (1 - MIN_GAIN) * _total_s(rows, 1, route)
        assert 4 * (rows // num) >= least
        for other in range(2, num):
            assert _total_s(rows, other, route) > _total_s(rows, num, route)


@given(st.integers(1, 512), st.integers(1, 64))
def test_rows_of_micro_batches_are_even_and_complete(rows, num):
    """They add up, and differ by one at the most."""
    found = rows_of_micro_batches(rows, num)
    assert (sum(found), len(found)) == (rows, num)
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("rows", "route", "expected"),
    [
        # Nothing but work: each stage takes 32 ms; more num are better until frames cost as much.
        (32, [leg("a"), leg("b")], range(6, 15)),
        (32, [leg("a", least_rows=32), leg("b", least_rows=32)], [4]),
        (32, [leg("a"), leg("a")], [1]),
        (1, [leg("a"), leg("b")], [1]),
        # A run costs the same however many rows it has.
        (32, [leg("a", 0.05, 0.0), leg("b", 0.05, 0.0)], [1]),
        # One stage does all the work.
        (32, [leg("a", row_s=0.01), leg("b", row_s=1e-5)], [1]),
        # All the time is on the wire, which overlaps with nothing but itself, or with the work of the stage before.
        (32, [leg("a", row_s=1e-6), leg("b", row_s=1e-6, wire_row_s=0.01)], [1]),
        (32, [leg("a", row_s=0.01), leg("b", row_s=1e-6, wire_row_s=0.01)], range(8, 33)),
    ],
)
def test_best_num_micro_batches_follows_from_measured_costs(rows, route, expected):
    """Work that can overlap is cut; fixed costs and a stage that does all keep a request whole."""
    assert best_num_micro_batches(rows, route) in expected


def test_best_num_micro_batches_counts_the_cost_of_frames():
    """Runs as short as what a frame costs are not worth cutting."""
    tiny = FRAME_S / 100
    route = [leg("a", row_s=tiny), leg("b", row_s=tiny)]
    assert best_num_micro_batches(64, route) == num_micro_batches_to_try(64, route) == 1


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ([leg("a", 0.05, 0.0), leg("b", 0.05, 0.0)], 2),
        ([leg("a", 0.05, 0.0), leg("a", 0.05, 0.0)], 1),
        ([leg("a", 0.2, 0.0), leg("b", row_s=1e-5)], 1),
    ],
    ids=["runs cost much in themselves", "one worker", "one stage does it all"],
)
def test_num_micro_batches_to_try_is_two_where_only_fixed_costs_speak_against_splitting(route, expected):
    """For that may not be so; where it cannot matter, nothing is tried."""
    assert best_num_micro_batches(32, route) == 1
    assert num_micro_batches_to_try(32, route) == expected

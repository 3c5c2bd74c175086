"""Into how many micro-batches a request is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import WorkerId
from services.gateway.batching.run_times import RunTimes
from services.gateway.batching.split_plan import (
    FRAME_S,
    LEAST_GAIN,
    MAX_PIECES,
    Leg,
    _total_s,
    num_pieces,
    num_to_try,
    sizes,
)
from services.worker.queueing.run_cost import RunCost

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


def leg(worker, fixed_s=0.0, row_s=0.001, least_rows=1, **way):
    return Leg(WorkerId(worker), fixed_s, row_s, least_rows, **way)


@given(st.integers(1, 512), st.lists(legs, min_size=2, max_size=5))
def test_a_request_is_cut_only_where_it_gains_and_then_as_well_as_can_be(rows, route):
    """By the time of a pipeline; never into more pieces than rows, nor far smaller ones than were measured."""
    pieces = num_pieces(rows, route)
    assert 1 <= pieces <= min(MAX_PIECES, rows)
    least = max(leg.least_rows for leg in route)
    if pieces > 1:
        assert _total_s(rows, pieces, route) <= (1 - LEAST_GAIN) * _total_s(rows, 1, route)
        assert 4 * (rows // pieces) >= least
        for other in range(2, pieces):
            assert _total_s(rows, other, route) > _total_s(rows, pieces, route)


@given(st.integers(1, 512), st.integers(1, 64))
def test_sizes_are_even_and_whole(rows, pieces):
    """They add up, and differ by one at the most."""
    found = sizes(rows, pieces)
    assert (sum(found), len(found)) == (rows, pieces)
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize(
    ("rows", "route", "expected"),
    [
        # Nothing but work: each stage takes 32 ms; more pieces are better until frames cost as much.
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
def test_the_number_follows_from_what_was_measured(rows, route, expected):
    """Work that can overlap is cut; fixed costs and a stage that does all keep a request whole."""
    assert num_pieces(rows, route) in expected


def test_frames_are_counted():
    """Runs as short as what a frame costs are not worth cutting."""
    tiny = FRAME_S / 100
    route = [leg("a", row_s=tiny), leg("b", row_s=tiny)]
    assert num_pieces(64, route) == num_to_try(64, route) == 1


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ([leg("a", 0.05, 0.0), leg("b", 0.05, 0.0)], 2),
        ([leg("a", 0.05, 0.0), leg("a", 0.05, 0.0)], 1),
        ([leg("a", 0.2, 0.0), leg("b", row_s=1e-5)], 1),
    ],
    ids=["runs cost much in themselves", "one worker", "one stage does it all"],
)
def test_what_is_left_whole_for_what_runs_cost_in_themselves_is_tried_in_two(route, expected):
    """For that may not be so; where it cannot matter, nothing is tried."""
    assert num_pieces(32, route) == 1
    assert num_to_try(32, route) == expected


@given(st.floats(0.0, 1.0), st.floats(1e-4, 1.0), st.lists(st.integers(1, 64), min_size=1, max_size=50))
def test_a_line_is_found_again(fixed_s, row_s, runs):
    """From two sizes on both costs are known; from one, their sum."""
    cost = RunCost()
    for rows in runs:
        cost.observe_run(rows, fixed_s + row_s * rows)
    assert cost.run_s(runs[0]) == pytest.approx(fixed_s + row_s * runs[0], rel=1e-3)
    if len(set(runs)) > 1:
        assert cost.line == pytest.approx((fixed_s, row_s), rel=1e-2, abs=1e-2 * (fixed_s + row_s))


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

"""A rebalance: every gain counts, and its end is known before."""

from __future__ import annotations

import pytest

from services.scheduler.placement.moves import Move
from services.scheduler.placement.placement import decide_placement
from services.scheduler.placement.rebalance import rebalanced
from tests.unit.scheduler.placement_tables import at_rest, commands, num_held, stages, view, where

pytestmark = pytest.mark.timeout(1200)
"""Thousands of decisions: seconds on an idle machine, minutes on a busy one."""


def test_rebalance_moves_to_new_workers_at_once():
    """An operator who requests it knows that the workers stay."""
    workers = [view("a", "m/1/0 m/1/1"), view("b", since_s=100.0)]
    assert commands(decide_placement(stages("m", 2), workers, 100.0, rebalance=True)) == ["b+m/1/0"]


def test_rebalance_evens_out_work_that_a_count_does_not_show():
    """Three stages against two are even, but the heavy ones are on one worker."""
    desired = [*stages("h", 2, cost_s=0.1), *stages("l", 3, cost_s=0.01)]
    workers = [view("a", "h/1/0 h/1/1 l/1/0"), view("b", "l/1/1 l/1/2")]
    assert commands(decide_placement(desired, workers, 0.0)) == []
    assert rebalanced(desired, workers, 0.0) == (Move("h/1/0", "a", "b", "'a' has more work"),)


def test_rebalanced_predicts_the_moves_of_a_rebalance():
    """Replica by replica, from first to last, without steps in between."""
    desired = stages("m", 6)
    workers = [view("a", " ".join(f"m/1/{index}" for index in range(6))), view("b"), view("c")]
    moves = rebalanced(desired, workers, 0.0)
    assert len(moves) == 4
    end, _ = at_rest(desired, workers, rebalance=True)
    assert {(move.stage, move.target) for move in moves} == {
        (key, name) for name in "bc" for key in where(end)[name]
    }
    assert {move.source for move in moves} == {"a"}
    assert all(move.why for move in moves)
    assert rebalanced(desired, end, 0.0) == ()


def test_rebalanced_does_not_list_moves_under_way():
    """It counts as done: a rebalance lists only its own moves."""
    workers = [view("a", "m/1/0 m/1/1 n/1/0-"), view("b", "m/1/0~")]
    assert rebalanced(stages("m", 2), workers, 0.0) == ()


NAMES = "abcdef"


@pytest.mark.parametrize("num_workers", [2, 3, 5])
def test_rebalance_of_any_placement_ends_where_placing_would_begin(num_workers):
    """All on one worker, or placed from nothing: as many stages on each."""
    desired = [*stages("m", 4, replicas=2), *stages("n", 3)]
    names = NAMES[:num_workers]
    crowded = [view(names[0], "n/1/0 n/1/1 n/1/2"), *map(view, names[1:])]
    moved, _ = at_rest(desired, crowded, rebalance=True)
    fresh, _ = at_rest(desired, [view(name) for name in names])
    assert sorted(num_held(moved).values()) == sorted(num_held(fresh).values())

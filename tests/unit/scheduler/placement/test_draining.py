"""Leaving workers lose their stages without a gap in service."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.scheduler.placement.placement import decide_placement
from services.scheduler.placement.placement_candidates import MAX_FAILURES
from tests.unit.scheduler.placement_tables import commands, stages, view


def leaving(name, holds="", **changes):
    return view(name, holds, leaving=True, **changes)


TABLE = {
    "a leaving worker is given nothing": (
        stages("m", 2),
        [leaving("a"), view("b")],
        ["b+m/1/0", "b+m/1/1"],
        ["a"],
    ),
    "what it holds is loaded elsewhere first": (
        stages("m", 1),
        [leaving("a", "m/1/0"), view("b")],
        ["b+m/1/0"],
        [],
    ),
    "it stays until that is ready": (stages("m", 1), [leaving("a", "m/1/0"), view("b", "m/1/0~")], [], []),
    "then it goes": (stages("m", 1), [leaving("a", "m/1/0"), view("b", "m/1/0")], ["a-m/1/0"], []),
    "a worker does not depart before an eviction has ended": (
        stages("m", 1),
        [leaving("a", "m/1/0-"), view("b", "m/1/0")],
        [],
        [],
    ),
    "with nothing left it may depart": (stages("m", 1), [leaving("a"), view("b", "m/1/0")], [], ["a"]),
    "what failed there is not there": (
        stages("m", 1),
        [leaving("a", "m/1/0!"), view("b", "m/1/0")],
        [],
        ["a"],
    ),
    "a stage that is not desired is evicted at once": ([], [leaving("a", "m/1/0")], ["a-m/1/0"], []),
    "of two replicas one is replaced before it goes": (
        stages("m", 1, replicas=2),
        [leaving("a", "m/1/0"), view("b", "m/1/0"), view("c")],
        ["c+m/1/0"],
        [],
    ),
    "of two replicas one is evicted where no worker can load it": (
        stages("m", 1, replicas=2),
        [leaving("a", "m/1/0"), view("b", "m/1/0")],
        ["a-m/1/0"],
        [],
    ),
    "but not before the other is ready": (
        stages("m", 1, replicas=2),
        [leaving("a", "m/1/0"), view("b", "m/1/0~")],
        [],
        [],
    ),
    "the last replica stays where no worker can load it, and its worker departs": (
        stages("m", 1),
        [leaving("a", "m/1/0")],
        [],
        ["a"],
    ),
    "no worker has the memory": (
        stages("m", 1, peak_bytes=2),
        [leaving("a", "m/1/0"), view("b", memory=1)],
        [],
        ["a"],
    ),
    "no worker meets the requirements": (
        stages("m", 1, require=("gpu",)),
        [leaving("a", "m/1/0", tags=frozenset(["gpu"])), view("b")],
        [],
        ["a"],
    ),
    "all workers leave; one of two replicas is enough": (
        stages("m", 1, replicas=2),
        [leaving("a", "m/1/0"), leaving("b", "m/1/0")],
        ["b-m/1/0"],
        ["a"],
    ),
    "one stage that can go nowhere does not keep another": (
        stages("m", 2),
        [leaving("a", "m/1/0 m/1/1"), view("b", "m/1/1", facts={"device": "cuda"})],
        ["a-m/1/1", "b+m/1/0"],
        [],
    ),
    "while memory is being freed there is hope": (
        stages("m", 1, peak_bytes=2),
        [leaving("a", "m/1/0"), view("b", "n/1/0-", memory=1)],
        [],
        [],
    ),
    "what is still loading there is given up for another": (
        stages("m", 1),
        [leaving("a", "m/1/0~"), view("b")],
        ["a-m/1/0", "b+m/1/0"],
        [],
    ),
    "unless there is no other": (stages("m", 1), [leaving("a", "m/1/0~")], [], ["a"]),
    "what failed elsewhere lately is tried again there": (
        stages("m", 1),
        [leaving("a", "m/1/0"), view("b", "m/1/0!")],
        [],
        [],
    ),
}


@pytest.mark.parametrize(("desired", "workers", "ordered", "departing"), TABLE.values(), ids=TABLE.keys())
def test_draining_commands_and_departures(desired, workers, ordered, departing):
    """Commands, and the workers that may end; a second call returns the same."""
    placement = decide_placement(desired, workers, 0.0)
    assert (commands(placement), list(placement.departing)) == (ordered, departing)
    assert decide_placement(desired, workers, 0.0) == placement


def test_draining_worker_serves_until_its_stages_are_ready_elsewhere():
    """It is routed until it is evicted, and the move is listed."""
    desired, a = stages("m", 1), leaving("a", "m/1/0")
    placement = decide_placement(desired, [a, view("b")], 0.0)
    assert placement.routed == {"m/1/0": ("a",)}
    assert [(move.source, move.target, move.why) for move in placement.moves] == [
        ("a", "b", "'a' is leaving")
    ]
    assert decide_placement(desired, [a, view("b", "m/1/0~")], 0.0).routed == {"m/1/0": ("a",)}
    assert decide_placement(desired, [a, view("b", "m/1/0")], 0.0).routed == {"m/1/0": ("b",)}


def test_draining_that_is_undone_changes_nothing():
    """Its stages count again, and are not replaced."""
    assert commands(decide_placement(stages("m", 1), [view("a", "m/1/0"), view("b")], 0.0)) == []


def test_draining_does_not_wait_for_a_stage_that_keeps_failing_elsewhere():
    """After some failures in a row that worker does not count; it is tried again after its back-off."""
    desired, a, b = stages("m", 1), leaving("a", "m/1/0"), view("b", "m/1/0!")
    held = replace(b.stages["m/1/0"], failures=MAX_FAILURES, retry_s=5.0)
    b = replace(b, stages={"m/1/0": held})
    placement = decide_placement(desired, [a, b], 0.0)
    assert (commands(placement), placement.departing, placement.retry_s) == ([], ("a",), 5.0)
    again = decide_placement(desired, [a, b], 5.0)
    assert (commands(again), again.departing) == (["b+m/1/0"], ())


def test_draining_worker_gets_no_stage_and_attracts_no_move():
    """Evenness is that of the workers that stay."""
    workers = [view("a", "m/1/0 m/1/1 m/1/2"), leaving("b")]
    for rebalance in (False, True):
        assert commands(decide_placement(stages("m", 3), workers, 0.0, rebalance=rebalance)) == []

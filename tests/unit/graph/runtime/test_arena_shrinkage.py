"""Shrinkage of the memory arena."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.graph.runtime.arena_shrinkage import SHRINK_WINDOW_S, ArenaShrinkage
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.tensors.arrays import from_array, to_array
from services.worker.machine.load import resident_bytes
from tests.fakes.clock import Clock
from tests.zoo.zoo_model import floats, model, node

ROW = 1_000_000

LARGE_ROWS = 32


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def session(tmp_path, clock, monkeypatch):
    path = tmp_path / "m.onnx"
    onnx.save(
        model([node("Neg", ["x"], ["y"])], [floats("x", "N", ROW)], [floats("y", "N", ROW)], opsets={"": 21}),
        path,
    )
    session = StageSession(path)
    monkeypatch.setattr(session, "_arena", ArenaShrinkage(clock))
    return session


def rows(number):
    return from_array("x", np.ones((number, ROW), np.float32))


def test_shrinkage_releases_the_outputs_of_the_largest_run(session, clock):
    """Memory of a run of 32 rows is released once no run needed it for a window; outputs stay correct.

    Now and then something else of this process lies in the arena's region and keeps it: the largest run is repeated then.
    """
    session.run({"x": rows(1)})
    for _ in range(5):
        before = resident_bytes()
        assert session.run({"x": rows(LARGE_ROWS)})["y"].byte_size == LARGE_ROWS * ROW * 4
        for _ in range(2):
            session.run({"x": rows(1)})
            assert resident_bytes() - before > LARGE_ROWS * ROW * 4 * 0.9
            clock.now_s += SHRINK_WINDOW_S
        session.run({"x": rows(1)})
        clock.now_s += SHRINK_WINDOW_S
        answer = session.run({"x": rows(1)})["y"]
        assert (to_array(answer) == -1).all()
        if resident_bytes() - before < LARGE_ROWS * ROW * 4 * 0.3:
            return
    pytest.fail("no shrinkage released the memory of the largest run")


def test_shrinkage_keeps_outputs_that_are_referenced(session, clock):
    """A shrinkage releases unused memory only."""
    kept = session.run({"x": rows(LARGE_ROWS)})["y"]
    for number in (1, 1, 1, 2, 3):
        clock.now_s += SHRINK_WINDOW_S
        session.run({"x": rows(number)})
    assert (to_array(kept) == -1).all()


def test_shrinkage_follows_a_window_without_large_outputs(clock):
    """One, and no other until there were large ones again."""
    arena = ArenaShrinkage(clock)
    arena.observe_output(100)
    for wanted in (False, True, False, False):
        assert arena.run_options() is None
        clock.now_s += SHRINK_WINDOW_S
        assert (arena.run_options() is not None) == wanted


def test_shrinkage_does_not_follow_runs_of_steady_size(clock):
    """Half as much is little; what comes once in each window is much."""
    arena = ArenaShrinkage(clock)
    shrinkages = []
    for largest in (100, 60, 100, 51, 50, 30, 50, 25):
        arena.observe_output(10)
        arena.observe_output(largest)
        clock.now_s += SHRINK_WINDOW_S
        shrinkages.append(arena.run_options() is not None)
    assert shrinkages == [False, False, False, False, True, False, False, True]


def test_shrinkage_ignores_outputs_in_buffers(session, monkeypatch):
    """But those of the first run, before their shape was known."""
    left = []
    monkeypatch.setattr(session._arena, "observe_output", left.append)
    for _ in range(3):
        session.run({"x": rows(1)}, allocator=lambda size: memoryview(np.empty(size, np.uint8)))
    assert left == [ROW * 4]

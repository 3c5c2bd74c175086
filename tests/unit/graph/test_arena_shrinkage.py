"""Memory that ONNX Runtime's arena gives back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxmesh.graph import arena_shrinkage
from onnxmesh.graph.arena_shrinkage import EVERY_S, ArenaShrinkage
from onnxmesh.graph.session import StageSession
from onnxmesh.tensors.arrays import from_array, to_array
from tests.zoo.zoo_model import floats, model, node

ROW = 1_000_000
LARGE_ROWS = 32


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.fixture
def session(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(
        model([node("Neg", ["x"], ["y"])], [floats("x", "N", ROW)], [floats("y", "N", ROW)], opsets={"": 21}),
        path,
    )
    return StageSession(path)


def rows(number):
    return from_array("x", np.ones((number, ROW), np.float32))


def test_outputs_of_the_largest_run_are_given_back_by_the_next_run(session, monkeypatch):
    """What 32 rows left in the arena is gone after one row was run; that answers as ever."""
    monkeypatch.setattr(arena_shrinkage, "EVERY_S", 0)
    session.run({"x": rows(1)})
    before = resident_bytes()
    assert session.run({"x": rows(LARGE_ROWS)})["y"].byte_size == LARGE_ROWS * ROW * 4
    assert resident_bytes() - before > LARGE_ROWS * ROW * 4 * 0.9
    answer = session.run({"x": rows(1)})["y"]
    assert resident_bytes() - before < LARGE_ROWS * ROW * 4 * 0.3
    assert (to_array(answer) == -1).all()


def test_outputs_that_are_still_seen_stay_what_they_are(session, monkeypatch):
    """A shrinkage gives back only what nobody uses."""
    monkeypatch.setattr(arena_shrinkage, "EVERY_S", 0)
    kept = session.run({"x": rows(LARGE_ROWS)})["y"]
    session.run({"x": rows(1)})
    session.run({"x": rows(2)})
    assert (to_array(kept) == -1).all()


def test_only_the_run_after_large_outputs_shrinks_and_not_every_one_of_them():
    """Each shrinkage costs the runs that come after it."""
    now_s = 0.0
    arena = ArenaShrinkage(lambda: now_s)
    assert arena.options() is None
    arena.left_outputs()
    assert arena.options() is not None
    assert arena.options() is None
    arena.left_outputs()
    now_s = EVERY_S - 1
    assert arena.options() is None
    now_s = EVERY_S
    assert arena.options() is not None


def test_outputs_in_rooms_call_for_none(session, monkeypatch):
    """The arena has nothing of them."""
    left = []

    def note(arena):
        left.append(arena)

    monkeypatch.setattr(ArenaShrinkage, "left_outputs", note)
    for _ in range(3):
        session.run({"x": rows(1)}, find_room=lambda size: memoryview(np.empty(size, np.uint8)))
    assert len(left) == 1, "only the first, before its shape was known"

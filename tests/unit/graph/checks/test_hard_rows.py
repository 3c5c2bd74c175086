"""Rows with extreme values."""

from __future__ import annotations

import numpy as np

from onnxmesh.graph.checks.hard_rows import FACTORS, harden
from onnxmesh.tensors.arrays import from_array, to_array


def hardened(array, count=8, bound=None):
    bounds = {} if bound is None else {"x": bound}
    return [
        to_array(each["x"]) for each in harden([{"x": from_array("x", array)} for _ in range(count)], bounds)
    ]


def test_floats_are_scaled_beside_tame_rows():
    """The first row is tame and the second is not, so that the smallest batch has both."""
    rows = hardened(np.array([[1.0, -2.0]], np.float32))
    assert rows[0].tolist() == [[1.0, -2.0]]
    assert rows[1].tolist() == [[100.0, -200.0]]
    assert {row[0, 0] for row in rows} == {1.0, 100.0, 0.0, 255.0, 1e4}
    assert set(FACTORS) >= {0.0, 100.0, 255.0}


def test_half_precision_stays_finite():
    """Infinite rows would hide more than they show."""
    assert all(np.isfinite(row).all() for row in hardened(np.array([[60.0]], np.float16)))


def test_indices_reach_the_ends_of_their_table():
    """And never beyond."""
    rows = hardened(np.array([[1, 2]], np.int64), bound=30522)
    assert {tuple(row[0].tolist()) for row in rows} == {(1, 2), (0, 2), (30521, 2)}


def test_pixels_reach_their_bounds():
    """Other integers without a known table stay small: they may be indices."""
    assert {row.max() for row in hardened(np.array([[7]], np.uint8))} == {7, 0, 255}
    assert max(row.max() for row in hardened(np.array([[1]], np.int64))) == 3


def test_booleans_are_all_true_or_all_false():
    """A mask of nothing."""
    rows = hardened(np.array([[True, False]]))
    assert [row.all() for row in rows[:3]] == [False, True, False]
    assert not rows[2].any()

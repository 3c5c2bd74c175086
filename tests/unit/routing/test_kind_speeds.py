"""How fast kinds of workers are, and how fast one of a kind is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.kind_speeds import KindSpeeds
from onnxmesh.routing.policy_settings import PolicySettings

ALIKE = PolicySettings(alike=0.2)


def speeds(measured, kinds=("a", "a", "b")):
    found = KindSpeeds(kinds, ALIKE)
    for index, compute_s in measured:
        found.observe(index, compute_s)
    return found


def test_one_that_measures_about_what_its_kind_does_is_as_fast_as_that():
    """A fifth more or less is chance."""
    found = speeds([(0, 0.01), (1, 0.01)])
    assert found.shrunk_s(0, 0.0081) == pytest.approx(0.01)
    assert found.shrunk_s(1, 0.0119) == pytest.approx(0.01)


def test_one_that_became_slow_keeps_its_own_figure():
    """Far off, nearly all of the difference counts."""
    found = speeds([(0, 0.01), (1, 0.01)])
    assert found.shrunk_s(0, 0.04) == pytest.approx(0.04, rel=0.01)


@given(st.floats(1e-6, 10), st.floats(1e-6, 10))
def test_a_figure_lies_between_ones_own_and_the_kinds(usual_s, own_s):
    """It is never farther from the kind's than what was measured."""
    found = speeds([(0, usual_s)]).shrunk_s(1, own_s)
    assert min(usual_s, own_s) * (1 - 1e-9) <= found <= max(usual_s, own_s) * (1 + 1e-9)


def test_a_kind_that_nobody_measured_is_taken_for_a_slow_one():
    """As slow as the slowest known one, and not faster than told; those of a measured kind have its figure."""
    found = speeds([(0, 0.01)])
    assert found.typical_s(np.array([False, True, True]), 0.5).tolist() == [0.01, 0.5]
    assert found.typical_s(np.array([False, True, True]), 0.001).tolist() == [0.01, 0.01]


def test_kinds_outlive_a_change_of_the_replicas():
    """A worker that joins is as fast as others of its kind."""
    found = speeds([], ("c", "b", "a"))
    found.inherit(speeds([(0, 0.01), (2, 0.03)]))
    assert found.typical_s(np.ones(3, np.bool_), 0.5).tolist() == [0.5, 0.03, 0.01]

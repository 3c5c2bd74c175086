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


def test_shrunk_s_is_that_of_the_kind_if_near():
    """A fifth more or less is chance."""
    found = speeds([(0, 0.01), (1, 0.01)])
    assert found.shrunk_s(0, 0.0081) == pytest.approx(0.01)
    assert found.shrunk_s(1, 0.0119) == pytest.approx(0.01)


def test_shrunk_s_is_the_own_average_if_far_off():
    """Far off, nearly all of the difference counts."""
    found = speeds([(0, 0.01), (1, 0.01)])
    assert found.shrunk_s(0, 0.04) == pytest.approx(0.04, rel=0.01)


def test_shrunk_s_is_the_own_average_where_none_are_alike():
    """With a limit of 0, a replica that is exactly as fast as its kind included."""
    found = KindSpeeds(("a", "a"), PolicySettings(alike=0.0))
    found.observe(0, 0.01)
    assert [found.shrunk_s(index, own_s) for index, own_s in enumerate((0.01, 0.02))] == [0.01, 0.02]


@given(st.floats(1e-6, 10), st.floats(1e-6, 10))
def test_shrunk_s_lies_between_own_and_kind(usual_s, own_s):
    """It is never farther from the kind's than what was measured."""
    found = speeds([(0, usual_s)]).shrunk_s(1, own_s)
    assert min(usual_s, own_s) * (1 - 1e-9) <= found <= max(usual_s, own_s) * (1 + 1e-9)


def test_typical_s_of_an_unmeasured_kind_is_that_of_the_slowest():
    """As slow as the slowest known one, and not faster than the given bound; those of a measured kind have its figure."""
    found = speeds([(0, 0.01)])
    assert found.typical_s(np.array([False, True, True]), 0.5).tolist() == [0.01, 0.5]
    assert found.typical_s(np.array([False, True, True]), 0.001).tolist() == [0.01, 0.01]


def test_inherit_keeps_kinds_after_a_change_of_the_replicas():
    """A worker that joins is as fast as others of its kind."""
    found = speeds([], ("c", "b", "a"))
    found.inherit(speeds([(0, 0.01), (2, 0.03)]))
    assert found.typical_s(np.ones(3, np.bool_), 0.5).tolist() == [0.5, 0.03, 0.01]

"""Uniform cuts."""

from __future__ import annotations

import pytest

from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.uniform import uniform_assignment, uniform_cuts
from tests.fakes.planned_graphs import cluster, graph, kind


@pytest.mark.parametrize(("num_stages", "cuts"), [(1, ()), (2, (3,)), (3, (2, 4)), (6, (1, 2, 3, 4, 5))])
def test_uniform_cuts_have_equal_numbers_of_nodes(num_stages, cuts):
    """Six nodes."""
    assert uniform_cuts(Chain.of(graph([1] * 6), cluster(kind())), num_stages) == cuts


def test_uniform_cuts_are_the_nearest_legal_ones():
    """Position 3 of six nodes is illegal; 2 is as near as 4, and the lower one is taken. Cuts are blocks."""
    chain = Chain.of(graph([1] * 6, illegal={3}), cluster(kind()))
    (cut,) = uniform_cuts(chain, 2)
    assert chain.positions[cut] == 2


def test_uniform_assignment_has_the_fastest_device_for_the_heaviest_stage():
    """The second half computes most; a kind without enough devices or memory makes it infeasible."""
    chain = Chain.of(graph([1, 1, 9, 9]), cluster(kind("slow"), kind("fast", speed=2.0)))
    found = uniform_assignment(chain, 2)
    assert found is not None
    assert found.groups == (((0, 1),), ((1, 1),))
    assert uniform_assignment(chain, 3) is None

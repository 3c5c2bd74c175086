"""Search spaces within a budget."""

from __future__ import annotations

from onnxmesh.model.plan import Demand
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.search_space import affordable_search_space
from tests.fakes.planned_graphs import cluster, graph, kind


def test_search_space_is_the_whole_problem_within_the_budget():
    """Two kinds and twenty nodes are a small problem."""
    chain = Chain.of(graph([10] * 20), cluster(kind("a", 2), kind("b", 2, speed=2.0)))
    space = affordable_search_space(chain, Demand(replicas=None))
    assert space is not None
    assert space.exact
    assert (space.points, space.num_layers, space.replicate) == (list(range(21)), 4, True)


def test_search_space_of_equal_devices_needs_cuts_only():
    """One kind with given replicas: exact at any size, even without a budget."""
    chain = Chain.of(graph([10] * 20), cluster(kind("a", 3)))
    space = affordable_search_space(chain, Demand(), budget=0)
    assert space is not None
    assert (space.single, space.exact) == (True, True)


def test_search_space_beyond_the_budget_is_reduced():
    """Pooled kinds, and no longer exact."""
    chain = Chain.of(graph([10] * 200), cluster(kind("a", 4), kind("b", 4, speed=2.0)))
    space = affordable_search_space(chain, Demand(replicas=None), budget=100)
    assert space is not None
    assert not space.exact
    assert space.pools.members == ((0, 1),)


def test_search_space_is_none_with_too_few_devices():
    """Three stages of two replicas need six devices."""
    chain = Chain.of(graph([10] * 20), cluster(kind("a", 5)))
    assert affordable_search_space(chain, Demand(num_stages=3, replicas=2)) is None

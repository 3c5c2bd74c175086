"""Cuts of the fewest bytes at nearly the same period."""

from __future__ import annotations

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.fewest_bytes import with_fewest_bytes
from tests.fakes.planned_graphs import cluster, graph, kind

TWO = (((0, 1),), ((0, 1),))


def test_fewest_bytes_move_the_cut_within_two_percent():
    """The cut at 1 is optimal by 1 %; the cut at 2 sends 10 bytes instead of 1000."""
    costs = graph([101, 2, 99], [1000, 10])
    chain = Chain.of(costs, cluster(kind(count=2)))
    assert with_fewest_bytes(costs, chain, Assignment((1,), TWO), at_most=None).cuts == (2,)


def test_fewest_bytes_respect_the_limit_on_the_period():
    """The optimal period itself is the limit: nothing may move."""
    costs = graph([100, 1, 102], [10, 1000])
    chain = Chain.of(costs, cluster(kind(count=2)))
    best = Assignment((2,), TWO)
    assert with_fewest_bytes(costs, chain, best, at_most=None).cuts == (1,)
    assert with_fewest_bytes(costs, chain, best, at_most=best.period(chain)).cuts == (2,)

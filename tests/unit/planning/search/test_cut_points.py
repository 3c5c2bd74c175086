"""Selection of cut points."""

from __future__ import annotations

from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.cut_points import select_cut_points
from tests.fakes.planned_graphs import cluster, graph, kind


def test_selection_prefers_small_boundaries_in_parts_of_equal_time():
    """Twelve equal nodes in at most three blocks: the smallest boundary of each half."""
    sizes = [9, 1, 9, 9, 9, 9, 9, 9, 2, 9, 9]
    chain = Chain.of(graph([10] * 12, sizes), cluster(kind()))
    assert select_cut_points(chain, 3) == [0, 2, 9, 12]


def test_selection_includes_known_positions_and_all_positions_where_it_can():
    """Known positions take two thirds of the selection at most."""
    chain = Chain.of(graph([10] * 12), cluster(kind()))
    points = select_cut_points(chain, 4, known=[5, 7, 11])
    assert {5, 7} <= set(points)
    assert len(points) == 5
    assert select_cut_points(chain, 12) == list(range(13))

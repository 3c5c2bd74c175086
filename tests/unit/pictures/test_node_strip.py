"""Merging of nodes and thinning of lines."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.pictures.node_strip import merged_runs, thinned


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), min_size=1, max_size=60))
def test_merged_runs_cover_all_nodes(nodes):
    """Runs follow each other from end to end, and each but the last can be seen."""
    edges = [0.0]
    for width, _ in nodes:
        edges.append(edges[-1] + width)
    runs = merged_runs([kind for _, kind in nodes], edges, 1.0)
    assert (runs[0][0], runs[-1][1]) == (0.0, edges[-1])
    assert all(one[1] == other[0] for one, other in itertools.pairwise(runs))
    assert all(end - start >= 1.0 for start, end, _ in runs[:-1])
    assert all(one[2] != other[2] for one, other in itertools.pairwise(runs))


def test_merged_runs_keep_the_kind_of_wide_nodes():
    """A node that can be seen is drawn as what it is; slivers take the colour of most of their time."""
    assert merged_runs([0, 1, 1, 0], [0, 2, 4, 6, 8], 1.0) == [(0, 2, 0), (2, 6, 1), (6, 8, 0)]
    assert merged_runs([0, 1, 0, 2], [0.0, 0.3, 0.9, 1.1, 3.0], 1.0) == [(0.0, 1.1, 1), (1.1, 3.0, 2)]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 9)), min_size=1, max_size=200))
def test_thinned_lines_keep_extremes(points):
    """Few points stay, among them the lowest and the highest."""
    ordered = sorted(points, key=lambda point: point[0])
    kept = thinned(ordered, 10.0)
    assert len(kept) <= 4 * 11
    assert {min(y for _, y in kept), max(y for _, y in kept)} == {
        min(y for _, y in points),
        max(y for _, y in points),
    }

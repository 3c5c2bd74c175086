"""Text that fits, figures that people read, widths that add up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.pictures.geometry import shared_widths
from onnxmesh.pictures.labels import first_fitting, printable, shortened, text_width, wrapped
from onnxmesh.pictures.node_strip import merged_runs, thinned


@given(st.text(max_size=40), st.floats(0, 300))
def test_fitted_text_fits(text, width):
    """Whatever is left of a text is no wider than its room, and a text that fits is left alone."""
    short = shortened(text, width, 12)
    assert text_width(short, 12) <= width or not short
    if text_width(printable(text), 12) <= width:
        assert short == printable(text)


def test_shortening_keeps_both_ends_of_a_name():
    """Names are told apart by their ends."""
    assert shortened("encoder.layer.0.attention.query", 100, 12) == "encode….query"
    assert first_fitting(("2 boxes of a kind", "2 boxes"), 60, 12) == "2 boxes"


@given(st.lists(st.text("abc", min_size=1, max_size=8), max_size=30))
def test_wrapped_lines_fit_and_lose_no_word(words):
    """Lines hold the words in order, and none is too wide."""
    lines = wrapped(" ".join(words), 80, 12)
    assert " ".join(lines).split() == words
    assert all(text_width(line, 12) <= 80 for line in lines)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=16), st.floats(0, 1000))
def test_widths_add_up_and_none_is_too_narrow(shares, spare):
    """Parts fill the whole, each has its least, and a larger share never has the narrower part."""
    total = 50.0 * len(shares) + spare
    widths = shared_widths(shares, total, 50.0)
    assert sum(widths) == pytest.approx(total)
    assert min(widths) >= 50 - 1e-6
    for share, width in zip(shares, widths, strict=True):
        assert all(width >= other - 1e-6 for less, other in zip(shares, widths, strict=True) if share > less)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3)), min_size=1, max_size=60))
def test_merged_runs_cover_the_row(nodes):
    """Runs follow each other from end to end, and each but the last can be seen."""
    edges = [0.0]
    for width, _ in nodes:
        edges.append(edges[-1] + width)
    runs = merged_runs([kind for _, kind in nodes], edges, 1.0)
    assert (runs[0][0], runs[-1][1]) == (0.0, edges[-1])
    assert all(one[1] == other[0] for one, other in itertools.pairwise(runs))
    assert all(end - start >= 1.0 for start, end, _ in runs[:-1])
    assert all(one[2] != other[2] for one, other in itertools.pairwise(runs))


def test_wide_nodes_keep_their_kind():
    """A node that can be seen is drawn as what it is; slivers take the colour of most of their time."""
    assert merged_runs([0, 1, 1, 0], [0, 2, 4, 6, 8], 1.0) == [(0, 2, 0), (2, 6, 1), (6, 8, 0)]
    assert merged_runs([0, 1, 0, 2], [0.0, 0.3, 0.9, 1.1, 3.0], 1.0) == [(0.0, 1.1, 1), (1.1, 3.0, 2)]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 9)), min_size=1, max_size=200))
def test_thinning_keeps_what_stands_out(points):
    """Few points stay, among them the lowest and the highest."""
    ordered = sorted(points, key=lambda point: point[0])
    kept = thinned(ordered, 10.0)
    assert len(kept) <= 4 * 11
    assert {min(y for _, y in kept), max(y for _, y in kept)} == {
        min(y for _, y in points),
        max(y for _, y in points),
    }

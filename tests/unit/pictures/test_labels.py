"""Labels: widths, shortening, wrapping."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.pictures.labels import first_fitting, printable, shortened, text_width, wrapped


@given(st.text(max_size=40), st.floats(0, 300))
def test_shortened_text_fits(text, width):
    """The shortened text is no wider than allowed, and a text that fits is unchanged."""
    short = shortened(text, width, 12)
    assert text_width(short, 12) <= width or not short
    if text_width(printable(text), 12) <= width:
        assert short == printable(text)


def test_shortened_text_keeps_both_ends():
    """Names differ at their ends."""
    assert shortened("encoder.layer.0.attention.query", 100, 12) == "encode….query"
    assert first_fitting(("2 boxes of a kind", "2 boxes"), 60, 12) == "2 boxes"


@given(st.lists(st.text("abc", min_size=1, max_size=8), max_size=30))
def test_wrapped_lines_fit_and_keep_every_word(words):
    """Lines hold the words in order, and none is too wide."""
    lines = wrapped(" ".join(words), 80, 12)
    assert " ".join(lines).split() == words
    assert all(text_width(line, 12) <= 80 for line in lines)

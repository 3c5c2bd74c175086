"""Selectors are parsed, and mistakes are reported with their position."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.selectors.selector_text import parse_selector

MISTAKES = {
    "": (1, "a key", "the end"),
    " a": (1, "a key", "' a'"),
    "=x": (1, "a key", "'=x'"),
    "a b": (3, "an operator (=, ==, !=, in, notin, exists, <, <=, >, >=), ',' or the end", "'b'"),
    "a=b c": (5, "',' or the end", "'c'"),
    "a\n": (2, "no white space at the end", r"'\n'"),
    "a,": (3, "a key", "the end"),
    "!": (2, "a key", "the end"),
    "!a=b": (3, "',' or the end", "'=b'"),
    "a in b": (6, "'('", "'b'"),
    "a in (b": (8, "',' or ')'", "the end"),
    "a in (b c)": (9, "',' or ')'", "'c)'"),
    "a >= big": (6, "a number such as 24, 7.5 or 80Gi", "'big'"),
    "a > ": (5, "a number such as 24, 7.5 or 80Gi", "the end"),
    'a="b': (5, "a closing '\"'", "the end"),
    '""': (1, "a key", "'\"\"'"),
    "a=" + "x" * 257: (3, "a word of 256 characters at most", repr("x" * 20)),
}


@pytest.mark.parametrize(("text", "place"), MISTAKES.items(), ids=[repr(text)[:20] for text in MISTAKES])
def test_parse_selector_reports_a_mistake_with_its_position(text, place):
    """Where it is, what was expected there, what came."""
    at, expected, got = place
    with pytest.raises(InvalidRequest) as caught:
        parse_selector(text)
    assert caught.value.message.endswith(f"character {at}: expected {expected}, got {got}")


def test_parse_selector_refuses_long_text():
    """Longer texts are never legitimate."""
    with pytest.raises(InvalidRequest, match="4096 characters at most, got 5000"):
        parse_selector("a" * 5000)


@given(st.text(alphabet='ab=!<>,() "in1', max_size=12))
def test_parse_selector_accepts_or_refuses_any_text(text):
    """Nothing else leaves the parser; what it reads it reads again from its own words."""
    try:
        selector = parse_selector(text)
    except InvalidRequest:
        return
    again = parse_selector(str(selector))
    for a, b in product(("", "1", "n"), repeat=2):
        found = labels_of((), {"a": a, "b": b})
        assert again.selects(found) == selector.selects(found)

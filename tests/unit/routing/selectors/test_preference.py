"""Preferences are parsed."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.routing.selectors.preference import parse_preference


@pytest.mark.parametrize(
    ("text", "selector", "weight"),
    [
        ("zone=eu", "zone=eu", 1),
        ("zone=eu:50", "zone=eu", 50),
        ("gpu, cores > 8:100", "gpu, cores > 8", 100),
        ('x="a:5"', 'x="a:5"', 1),
    ],
)
def test_parse_preference_reads_the_weight(text, selector, weight):
    """The weight is 1 by default."""
    found = parse_preference(text)
    assert (str(found.selector), found.weight) == (selector, weight)


@pytest.mark.parametrize("text", ["zone=eu:0", "zone=eu:101", ":5", "a b:5", ""])
def test_parse_preference_refuses_malformed_text(text):
    """Selector and weight are both checked."""
    with pytest.raises(InvalidRequest):
        parse_preference(text)

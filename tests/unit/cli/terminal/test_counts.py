"""Counts in options."""

from __future__ import annotations

import pytest

from onnxmesh.cli.terminal.counts import parse_count
from onnxmesh.errors import InvalidRequest


def test_count_is_a_positive_number_or_auto():
    """auto is 0."""
    assert [parse_count("--stages", text) for text in ("1", "12", "auto")] == [1, 12, 0]


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "many", "Auto"])
def test_count_error_names_the_option(text):
    """And the value."""
    with pytest.raises(InvalidRequest, match=f"--stages: expected a positive number or 'auto', got '{text}'"):
        parse_count("--stages", text)

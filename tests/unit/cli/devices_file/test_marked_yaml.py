"""YAML with line numbers."""

from __future__ import annotations

import pytest

from onnxmesh.cli.devices_file.marked_yaml import read_marked
from onnxmesh.cli.devices_file.read_devices import parse_devices
from onnxmesh.errors import InvalidRequest


def test_marked_yaml_bounds_the_expansion_of_aliases():
    """A few lines that stand for a billion fields are refused at once."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(InvalidRequest, match="more than 100000 fields"):
        parse_devices("\n".join(lines), "d.yaml")


def test_marked_yaml_has_the_line_of_each_field():
    """A field's line is that of its name; what is missing has the line of what it ought to be in."""
    marked = read_marked("a:\n  b: 1\n  c:\n  - 5\n  - 6\n", "x")
    assert marked.content == {"a": {"b": 1, "c": [5, 6]}}
    assert [marked.line(place) for place in [("a",), ("a", "b"), ("a", "c", 1), ("a", "none")]] == [
        1,
        2,
        5,
        1,
    ]

"""The options `--batch` and `--shape`."""

from __future__ import annotations

import pytest

from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.input_shapes import InputShapes


def test_shapes_are_parsed_by_input() -> None:
    """Names may hold '=' and ':'; 0 is a size; a scalar has no dimensions."""
    found = parse_shapes(4, ["x=1x3x224x224", "odd=name:0=2", "empty=0x3", "alpha=scalar"])
    assert found == InputShapes(4, {"x": (1, 3, 224, 224), "odd=name:0": (2,), "empty": (0, 3), "alpha": ()})


@pytest.mark.parametrize("option", ["x", "x=", "=1x2", "x=1x", "x=-1x2", "x=1,2", "x=1xa"])
def test_shapes_that_cannot_be_parsed_are_named(option: str) -> None:
    """The error shows the form that was expected and what was found."""
    with pytest.raises(InvalidRequest, match="--shape: expected NAME=1x3x224x224, got") as caught:
        parse_shapes(1, [option])
    assert f"'{option}'" in str(caught.value)


def test_shapes_refuse_contradictions() -> None:
    """Two shapes for one input, or a batch below 1, are refused."""
    with pytest.raises(InvalidRequest, match="'x' is given twice"):
        parse_shapes(1, ["x=1", "x=2"])
    with pytest.raises(InvalidRequest, match="--batch: expected a positive number, got 0"):
        parse_shapes(0, [])

"""Elements of values that are computed from shapes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.graph.rows.row_state import ROW_COUNT, SHARED, RowValue, as_contents
from onnxmesh.graph.rows.shape_arithmetic import as_contents_of, known_contents
from onnxmesh.graph.rows.sizes import ROWS, symbol
from tests.unit.graph.rows.one_node import view, with_rows

T = symbol("T")


def small(*elements):
    """Returns a small value with known elements."""
    return RowValue(ROW_COUNT, (len(elements),), as_contents_of(list(elements)))


def scalar(element):
    return RowValue(SHARED, (), as_contents_of(element))


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "expected"),
    [
        ("Shape", [with_rows(1, T, 8)], {}, [ROWS, T, 8]),
        ("Shape", [with_rows(1, T, 8)], {"start": 1, "end": -1}, [T]),
        ("Gather", [small(ROWS, T, 8), small(2, 0)], {}, [8, ROWS]),
        ("Slice", [small(ROWS, T, 8), small(-1), small(2**62)], {}, [8]),
        ("Concat", [small(ROWS), small(-1, 8)], {"axis": 0}, [ROWS, -1, 8]),
        ("Mul", [small(ROWS, 2), small(T)], {}, [ROWS * T, T * 2]),
        ("Add", [small(ROWS), small(1)], {}, [ROWS + 1]),
        ("Sub", [small(ROWS), small(ROWS)], {}, [0]),
        ("ReduceProd", [small(ROWS, T, 8)], {"keepdims": 1}, [ROWS * T * 8]),
        ("Equal", [small(ROWS, 8), small(-1)], {}, [False, False]),
        ("Max", [small(ROWS + 1), small(ROWS)], {}, [ROWS + 1]),
        ("Neg", [small(ROWS)], {}, [ROWS * -1]),
        ("ConstantOfShape", [small(2)], {}, [0, 0]),
        ("Range", [scalar(0), scalar(3), scalar(1)], {}, [0, 1, 2]),
        ("Cast", [small(ROWS)], {"to": int(onnx.TensorProto.FLOAT)}, [ROWS]),
        ("Unsqueeze", [scalar(ROWS), small(0)], {}, [ROWS]),
    ],
)
def test_contents_follow_from_shapes(op, inputs, attributes, expected):
    """With the number of rows as a symbol."""
    found = known_contents(view(op, inputs, **attributes))
    assert found is not None
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("Equal", [small(ROWS), small(4)]),
        ("Greater", [small(ROWS), small(4)]),
        ("Max", [small(ROWS), small(4)]),
        ("Range", [scalar(0), scalar(ROWS), scalar(1)]),
        ("Div", [small(ROWS), small(2)]),
        ("Div", [small(8), small(ROWS)]),
        ("Cast", [with_rows(1)]),
        ("Relu", [small(1)]),
    ],
)
def test_contents_are_unknown_where_they_depend_on_the_rows_otherwise(op, inputs):
    """A comparison with the number of rows, or positions of rows, is no shape."""
    assert known_contents(view(op, inputs)) is None


def test_contents_of_whole_quotients_are_known():
    """Rows times blocks, divided by the blocks, are the rows."""
    assert known_contents(view("Div", [small(ROWS * 4), small(4)])).tolist() == [ROWS]


def test_shape_of_an_unknown_rank_is_unknown():
    """Nothing is assumed."""
    assert known_contents(view("Shape", [RowValue(SHARED)])) is None
    assert as_contents(np.array([2.0])).tolist() == [2]

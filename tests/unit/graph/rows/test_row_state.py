"""Where rows are in a value, and after a reshape."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import (
    SHARED,
    Rows,
    RowValue,
    as_contents,
    row_input,
    rows_after_reshape,
    same_rows,
)
from onnxmesh.graph.rows.sizes import ROWS, symbol

T = symbol("T")


@pytest.mark.parametrize(
    ("state", "before", "after", "expected"),
    [
        (Rows(0), (ROWS, T, 8), (ROWS * T, 8), Rows(0, 1, T)),
        (Rows(0, 1, T), (ROWS * T, 8), (ROWS, T, 8), Rows(0)),
        (Rows(0), (ROWS, T, 8), (ROWS, T, 2, 4), Rows(0)),
        (Rows(0), (ROWS, 8), (1, ROWS * 8), Rows(1, 1, 8)),
        (Rows(1), (T, ROWS, 8), (T, ROWS * 2, 4), Rows(1, 1, 2)),
        (Rows(1), (T, ROWS, 8), (T * ROWS, 8), Rows(0, T, 1)),
        (Rows(0, T, 1), (T * ROWS, 8), (T, ROWS, 8), Rows(1)),
        (Rows(1), (2, ROWS, 8), (4, ROWS * 4), None),
        (Rows(0), (ROWS, 8), (4, ROWS * 2), None),
        (Rows(0), (ROWS, 8), (1, 8), None),
    ],
)
def test_rows_after_reshape(state, before, after, expected):
    """Rows stay at an axis only where the axes before it hold what was before them."""
    assert rows_after_reshape(RowValue(state, before), after) == expected


def test_shared_values_have_no_rows_after_reshape():
    """Whatever the shape."""
    assert rows_after_reshape(RowValue(SHARED, (8,)), (ROWS, 8)) is None


def test_same_rows_requires_the_same_arrangement():
    """Blocks of two indices and of three are different rows at index 2."""
    one, other = RowValue(Rows(0, 1, 2), (ROWS * 2,)), RowValue(Rows(0, 1, 3), (ROWS * 3,))
    assert same_rows(one, 0, one, 0)
    assert not same_rows(one, 0, other, 0)
    assert not same_rows(one, 1, one, 0)


def test_input_has_one_row_at_each_index_of_its_first_axis():
    """Its declared first dimension is replaced."""
    assert row_input((1, 3)) == RowValue(Rows(0), (ROWS, 3))


def test_contents_have_whole_floats_as_integers():
    """A scale of 1.0 is one."""
    assert as_contents(np.array([1.0, 1.5], np.float32)).tolist() == [1, 1.5]
    assert as_contents(np.int64(3)).shape == ()

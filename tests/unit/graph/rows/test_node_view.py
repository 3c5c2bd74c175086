"""A node as rules read it."""

from __future__ import annotations

import pytest

from onnxmesh.graph.rows.node_view import NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import ROW_COUNT, SHARED, Rows, RowValue, as_contents
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import view, with_rows


def test_view_refuses_what_is_not_known():
    """A missing input, an unknown rank, unknown elements, an axis that does not exist."""
    node = view("Add", [with_rows(1, 4), RowValue(SHARED), None])
    for read in (
        lambda: node.input(2),
        lambda: node.shape(1),
        lambda: node.contents(1),
        lambda: node.axis(2, 2),
    ):
        with pytest.raises(NotProven):
            read()
    assert node.axis(-1, 2) == 1
    assert not node.has(2)


def test_view_refuses_the_number_of_rows_as_data():
    """A value that depends on it is no operand, but its elements may be a shape."""
    count = RowValue(ROW_COUNT, (1,), as_contents([ROWS]))
    node = view("Add", [with_rows(1, 4), count])
    with pytest.raises(RowsMeet, match="number of rows as data"):
        node.rows(1)
    assert node.contents(1) == [ROWS]
    with pytest.raises(NotProven):
        node.constants(1)


def test_view_requires_shared_inputs():
    """Input 0 has rows."""
    node = view("Add", [with_rows(1, 4), shared((4,))])
    node.require_shared(1)
    with pytest.raises(NotProven):
        node.require_shared(0)
    node.require_first_axis(0)
    with pytest.raises(RowsMeet):
        view("Add", [with_rows(4, 1, axis=1)]).require_first_axis(0)


def test_result_has_the_size_of_the_rows_at_their_axis():
    """And at no other."""
    assert result(Rows(1, 2, 3), [4, 0]).shape == (4, ROWS * 6)
    assert result(None, [4]) == shared((4,))
    with pytest.raises(RowsMeet):
        result(Rows(0), [ROWS, ROWS])

"""Rules of operators that rearrange elements."""

from __future__ import annotations

import pytest

from onnxmesh.graph.rows.row_state import ROW_COUNT, SHARED, Mixed, RowCount, Rows, RowValue
from onnxmesh.graph.rows.shape_arithmetic import as_contents_of
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 4)


def shape(*sizes):
    """Returns a shape that was computed from the number of rows."""
    return RowValue(ROW_COUNT, (len(sizes),), as_contents_of(list(sizes)))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ints(0, -1), Rows(0)),
        (ints(-1, 12), Rows(0)),
        (ints(-1, 4), Rows(0, 1, 3)),
        (ints(1, -1), Rows(1, 1, 12)),
        (shape(ROWS, 12), Rows(0)),
        (shape(ROWS * 3, 4), Rows(0, 1, 3)),
    ],
)
def test_reshape_keeps_rows_apart(wanted, expected):
    """With constant and with computed shapes."""
    assert state("Reshape", [X, wanted]) == expected


@pytest.mark.parametrize("wanted", [ints(2, -1), ints(1, 12), ints(-1, 5), RowValue(ROW_COUNT, (2,))])
def test_reshape_is_refused_where_rows_are_torn(wanted):
    """Or where its shape is not known."""
    assert isinstance(state("Reshape", [X, wanted]), Mixed)


def test_transpose_flatten_squeeze_and_unsqueeze_move_rows():
    """To the axis that the specification says."""
    assert state("Transpose", [X], perm=[1, 2, 0]) == Rows(2)
    assert state("Flatten", [X]) == Rows(0)
    assert state("Flatten", [X], axis=2) == Rows(0, 1, 3)
    assert state("Unsqueeze", [X, ints(0)]) == Rows(1)
    assert state("Squeeze", [with_rows(1, 1, axis=1), ints(0)]) == Rows(0)
    assert "removes the rows' axis" in reason("Squeeze", [with_rows(1, 1), ints(0)])
    assert "single row" in reason("Squeeze", [with_rows(1, 1)])


def test_shared_values_get_rows_where_they_are_repeated_for_each():
    """A class token, zeros as a first state."""
    token = RowValue(SHARED, (1, 1, 4))
    assert outputs("Expand", [token, shape(ROWS, 1, 4)])[0] == RowValue(Rows(0), (ROWS, 1, 4))
    assert state("Tile", [token, shape(ROWS, 1, 1)]) == Rows(0)
    assert state("ConstantOfShape", [shape(1, ROWS, 4)]) == Rows(1)
    assert isinstance(state("ConstantOfShape", [shape(ROWS, ROWS)]), RowCount)


def test_tile_of_rows_repeats_them_outside():
    """Index 0 and index N belong to row 0."""
    assert state("Tile", [with_rows(1, 4), ints(2, 1)]) == Rows(0, 2, 1)


def test_expand_is_refused_with_a_fixed_number_of_rows():
    """It fits one number of rows only."""
    assert state("Expand", [with_rows(1, 1), ints(1, 4)]) == Rows(0)
    assert isinstance(state("Expand", [with_rows(1, 1), ints(2, 4)]), Mixed)


def test_pad_of_rows_is_refused():
    """A padded row would be a row of the batch."""
    assert state("Pad", [X, ints(0, 1, 0, 0, 0, 2)]) == Rows(0)
    assert outputs("Pad", [X, ints(0, 1, 0, 0, 0, 2)])[0].shape == (ROWS, 4, 6)
    assert "pads axis 0" in reason("Pad", [X, ints(1, 0, 0, 0, 0, 0)])


def test_positions_of_rows_are_no_rows():
    """Range over the number of rows."""
    count = RowValue(ROW_COUNT, (), as_contents_of(ROWS))
    zero = RowValue(SHARED, (), as_contents_of(0))
    one = RowValue(SHARED, (), as_contents_of(1))
    assert isinstance(state("Range", [zero, count, one]), RowCount)


def test_blocks_move_within_images():
    """Rows at the axis of channels are refused."""
    assert outputs("DepthToSpace", [with_rows(1, 8, 2, 3)], blocksize=2)[0].shape == (ROWS, 2, 4, 6)
    assert isinstance(state("SpaceToDepth", [with_rows(2, 1, 4, 4, axis=1)], blocksize=2), Mixed)


def test_optional_values_keep_their_rows():
    """Whether there is one depends on no row."""
    assert state("Optional", [X]) == Rows(0)
    assert state("OptionalGetElement", [X]) == Rows(0)
    assert state("OptionalHasElement", [X]) == SHARED

"""Rules of operators that cut or join values."""

from __future__ import annotations

import numpy as np

from onnxmesh.graph.rows.row_state import Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 4)


def test_slices_of_rows_are_refused_unless_all_are_taken():
    """Exporters write slices of all rows."""
    assert "slices axis 0" in reason("Slice", [X, ints(0), ints(1), ints(0)])
    assert "slices axis 0" in reason("Slice", [X, ints(0), ints(2**62), ints(0), ints(-1)])
    assert state("Slice", [X, ints(0, 1), ints(2**62, 3), ints(0, 1)]) == Rows(0)
    assert outputs("Slice", [X, ints(1), ints(3), ints(2)])[0].shape == (ROWS, 3, 2)


def test_parts_of_a_split_have_their_sizes():
    """Given as an input."""
    first, second = outputs("Split", [X, ints(1, 3)], num_outputs=2, axis=2)
    assert (first.shape, second.shape) == ((ROWS, 3, 1), (ROWS, 3, 3))


def test_concatenation_adds_sizes_where_the_rows_are_at_one_axis():
    """Rows at other axes would meet, and a shared part has one size for any number of rows."""
    assert outputs("Concat", [X, X], axis=2)[0].shape == (ROWS, 3, 8)
    assert "different axes" in reason("Concat", [X, with_rows(3, 1, 4, axis=1)], axis=2)
    assert "is shared" in reason("Concat", [X, np.zeros((1, 3, 4), np.float32)], axis=1)

"""Rules of operators that select by indices."""

from __future__ import annotations

import numpy as np

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 4)


def test_gather_keeps_rows_of_data_or_of_indices():
    """A table has no rows; indices beside data with rows are refused."""
    table = np.zeros((9, 5), np.float32)
    assert outputs("Gather", [table, with_rows(1, 3)])[0].shape == (ROWS, 3, 5)
    assert state("Gather", [with_rows(3, 1, axis=1), ints(0, 1)], axis=0) == Rows(1)
    assert state("Gather", [with_rows(3, 1, axis=1), np.array(0)], axis=0) == Rows(0)
    assert "selects along axis 0" in reason("Gather", [X, ints(0)])
    assert "from all rows" in reason("Gather", [X, with_rows(1)], axis=1)


def test_one_hot_moves_rows():
    """A new axis before theirs is followed."""
    values = np.array([0, 1], np.float32)
    assert state("OneHot", [with_rows(1, 2), np.array(5), values], axis=0) == Rows(1)


def test_scatter_and_reverse_require_rows_in_all_inputs():
    """Shared indices would belong to certain rows."""
    assert state("ScatterElements", [X, X, X], axis=1) == Rows(0)
    assert isinstance(state("ScatterElements", [X, np.zeros((1, 3, 4), np.int64), X], axis=1), Mixed)
    assert state("ReverseSequence", [X, with_rows(1)], batch_axis=0, time_axis=1) == Rows(0)
    assert isinstance(state("ReverseSequence", [X, ints(2)], batch_axis=0, time_axis=1), Mixed)

"""Rules of operators that combine elements along axes."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 4)


@pytest.mark.parametrize(
    ("op", "others", "attributes"),
    [
        ("Softmax", [], {}),
        ("ArgMax", [], {}),
        ("LpNormalization", [], {}),
        ("TopK", [ints(1)], {}),
        ("Concat", [X], {}),
        ("GatherElements", [X], {}),
    ],
)
def test_axis_that_holds_the_rows_is_refused(op, others, attributes):
    """Any other axis is row-wise."""
    assert state(op, [X, *others], axis=1, **attributes) == Rows(0)
    found = reason(op, [X, *others], axis=0, **attributes)
    assert found.startswith(f"rows meet in {op} 'tested'")


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_of_old_operator_sets_works_over_all_axes_from_one_on(op):
    """Rows at axis 1 are among them; before axis 1 they are not."""
    assert state(op, [X], opset=11, axis=1) == Rows(0)
    assert isinstance(state(op, [with_rows(3, 1, 4, axis=1)], opset=11, axis=1), Mixed)
    assert state(op, [with_rows(3, 1, 4, axis=1)], opset=13, axis=2) == Rows(1)


def test_reduction_without_axes_is_over_all():
    """Unless it does nothing then."""
    assert "reduces axis 0" in reason("ReduceMax", [X])
    assert state("ReduceMax", [X], noop_with_empty_axes=1) == Rows(0)
    assert outputs("ReduceMax", [with_rows(3, 1, axis=1), ints(0)], keepdims=0)[0].state == Rows(0)
    assert outputs("ReduceMax", [X, ints(-1)], keepdims=1)[0].shape == (ROWS, 3, 1)


def test_cumulative_sum_over_rows_is_refused():
    """Its axis is an input."""
    assert state("CumSum", [X, ints(1)]) == Rows(0)
    assert "along axis 0" in reason("CumSum", [X, ints(0)])


def test_layer_normalization_over_rows_is_refused():
    """It works over all axes from one on."""
    assert state("LayerNormalization", [X, np.ones(4, np.float32)]) == Rows(0)
    assert "from 0 on" in reason("LayerNormalization", [X, np.ones(4, np.float32)], axis=0)

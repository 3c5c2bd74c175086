"""Rules of element-wise operators."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import ROW_COUNT, SHARED, Rows, RowValue
from onnxmesh.graph.rows.rules.element_rules import broadcast_shape
from onnxmesh.graph.rows.sizes import counts_rows, symbol
from tests.unit.graph.rows.one_node import ints, outputs, reason, state, with_rows

X = with_rows(1, 3, 4)


def weight(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize("other", [weight(), weight(4), weight(3, 1), weight(1, 3, 4), X, with_rows(1, 1, 1)])
def test_rows_stay_where_the_other_operand_is_broadcast_over_them(other):
    """Or has the same rows."""
    assert state("Add", [X, other]) == Rows(0)


def test_rows_move_where_the_other_operand_has_more_axes():
    """Axes are aligned at the end."""
    assert outputs("Add", [with_rows(1, 4), weight(5, 1, 4)])[0].state == Rows(1)


def test_rows_meet_at_different_axes():
    """[N, 1] + [N] is each row with each."""
    assert "rows at another axis" in reason("Add", [with_rows(1, 1), with_rows(1)])


def test_fixed_size_at_the_rows_axis_is_refused():
    """It fits one number of rows only."""
    assert "a fixed size at the rows' axis" in reason("Mul", [with_rows(1, 4), weight(2, 4)])


def test_broadcasting_of_old_operator_sets_is_refused():
    """It aligns axes otherwise."""
    assert "before 7" in reason("Add", [with_rows(1, 3), weight(3)], opset=6, broadcast=1, axis=1)


def test_number_of_rows_as_an_operand_is_refused():
    """A mean by hand."""
    assert "number of rows as data" in reason("Div", [X, RowValue(ROW_COUNT, ())])


def test_per_axis_scale_is_refused_at_the_rows_axis():
    """Its scales would be those of certain rows."""
    scales, zeros = np.ones(3, np.float32), np.zeros(3, np.uint8)
    assert state("QuantizeLinear", [X, scales, zeros], axis=1) == Rows(0)
    assert "each index of the rows' axis" in reason("QuantizeLinear", [X, scales, zeros], axis=0)


def test_dropout_is_refused_in_training():
    """It is random then, for shared inputs too."""
    ratio, yes, no = np.array(0.5, np.float32), np.array(True), np.array(False)
    assert state("Dropout", [X, ratio, no]) == Rows(0)
    assert "training mode" in reason("Dropout", [X, ratio, yes])
    assert "training mode" in reason("Dropout", [RowValue(SHARED, (4,)), ratio, yes])


def test_constant_operands_stay_shared():
    """No rows, no proof needed."""
    assert state("Add", [ints(1), ints(2)]) == SHARED


def test_broadcast_of_symbols():
    """A symbol beside a fixed size is equal to it or 1; two symbols give a third."""
    size = symbol("T")
    assert broadcast_shape([(size, 4), (1,)]) == [size, 4]
    assert broadcast_shape([(size,), (5,)]) == [5]
    (found,) = broadcast_shape([(size,), (symbol("S"),)])
    assert found not in (size, symbol("S"))
    assert not counts_rows(found)

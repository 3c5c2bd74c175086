"""Rules of operators that sum products."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.graph.rows.row_state import Mixed, Rows
from onnxmesh.graph.rows.sizes import ROWS
from tests.unit.graph.rows.one_node import outputs, reason, state, with_rows


def weight(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (with_rows(1, 4), weight(4, 2), Rows(0)),
        (with_rows(1, 3, 4), weight(4, 2), Rows(0)),
        (with_rows(1, 3, 4), weight(1, 4, 2), Rows(0)),
        (with_rows(1, 3, 4), with_rows(1, 4, 3), Rows(0)),
        (weight(2, 4), with_rows(4, 1, axis=1), Rows(1)),
        (with_rows(1, 4), weight(4), Rows(0)),
        (weight(4), with_rows(1, 4, 2), Rows(0)),
        (with_rows(1, 4), weight(5, 4, 2), Rows(1)),
    ],
)
def test_matrix_product_keeps_rows_outside_the_sum(one, other, expected):
    """As matrix rows, columns or batch axes."""
    assert state("MatMul", [one, other]) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (with_rows(4, 1, axis=1), weight(1, 2)),
        (with_rows(1, 4), with_rows(4, 1, axis=1)),
        (with_rows(1, 3, 4), weight(2, 4, 2)),
        (with_rows(1), weight(1)),
        (with_rows(1, 3, 4), with_rows(4, 1, axis=1)),
    ],
)
def test_matrix_product_is_refused_where_rows_meet(one, other):
    """Summed over, or each multiplied with all."""
    assert isinstance(state("MatMul", [one, other]), Mixed)


def test_general_product_follows_transposition_and_bias():
    """A fixed bias of several rows is refused."""
    assert state("Gemm", [with_rows(4, 1, axis=1), weight(4, 2)], transA=1) == Rows(0)
    assert "sums over" in reason("Gemm", [with_rows(1, 4), weight(1, 2)], transA=1)
    assert state("Gemm", [with_rows(1, 4), weight(4, 2), weight(1, 2)]) == Rows(0)
    assert "bias" in reason("Gemm", [with_rows(1, 4), weight(4, 2), weight(3, 2)])


@pytest.mark.parametrize(
    ("equation", "inputs", "expected"),
    [
        ("bij,bjk->bik", [with_rows(1, 2, 3), with_rows(1, 3, 4)], Rows(0)),
        ("tbd,de->bte", [with_rows(2, 1, 4, axis=1), weight(4, 5)], Rows(0)),
        ("...d,de->...e", [with_rows(1, 2, 4), weight(4, 5)], Rows(0)),
        ("bd,bd->b", [with_rows(1, 2), with_rows(1, 2)], Rows(0)),
    ],
)
def test_einsum_follows_the_label_of_the_rows(equation, inputs, expected):
    """Through ellipses too."""
    assert state("Einsum", inputs, equation=equation) == expected


@pytest.mark.parametrize(
    ("equation", "inputs"),
    [
        ("bd,cd->bc", [with_rows(1, 2), with_rows(1, 2)]),
        ("bd,bd->d", [with_rows(1, 2), with_rows(1, 2)]),
        ("bb->b", [with_rows(1, 1)]),
        ("bd,bd->bd", [with_rows(1, 2), weight(3, 2)]),
    ],
)
def test_einsum_is_refused_where_rows_meet(equation, inputs):
    """All pairs, a sum over rows, a diagonal, a fixed number of rows."""
    assert isinstance(state("Einsum", inputs, equation=equation), Mixed)


def test_quantised_products_need_one_shared_scale():
    """A scale for each matrix row would be that of certain rows."""
    x, w = with_rows(1, 4), np.ones((4, 2), np.uint8)
    one, two = np.array(0.1, np.float32), np.ones(3, np.float32)
    named = {"domain": "com.microsoft"}
    assert state("MatMulIntegerToFloat", [x, w, one, one], **named) == Rows(0)
    assert "not one number" in reason("MatMulIntegerToFloat", [x, w, two, one], **named)
    assert "depends on rows" in reason("MatMulIntegerToFloat", [x, w, with_rows(1), one], **named)
    assert outputs("MatMulNBits", [x, w, two], N=7, **named)[0].shape == (ROWS, 7)

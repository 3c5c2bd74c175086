"""Arithmetic of sizes."""

from __future__ import annotations

import math

import pytest

from onnxmesh.graph.rows.size_arithmetic import (
    UnknownElement,
    chosen_element,
    element_difference,
    element_product,
    element_sum,
    elements_equal,
    exact_quotient,
    extreme_element,
    float_quotient,
    integer_quotient,
    number_of,
    rounded_by,
)
from onnxmesh.graph.rows.sizes import ROWS, symbol

T = symbol("T")


def test_sums_and_products_are_polynomials():
    """Of numbers they are numbers."""
    assert element_sum(ROWS, element_product(T, 2)) == ROWS + T * 2
    assert element_difference(ROWS, ROWS) == 0
    assert (element_sum(1.5, 1.5), element_product(0.5, 3)) == (3, 1.5)


def test_quotients_are_whole_or_follow_the_rounding_of_their_type():
    """Integers are rounded down, floats are not; where the type is not known, only a whole quotient is."""
    assert (
        integer_quotient(ROWS * 4, 2)
        == float_quotient(ROWS * 4, 2)
        == exact_quotient(ROWS * 4, 2)
        == ROWS * 2
    )
    assert (integer_quotient(7, 2), float_quotient(7, 2)) == (3, 3.5)
    assert integer_quotient(ROWS, 2).counts_rows
    for refused in (
        lambda: exact_quotient(7, 2),
        lambda: float_quotient(ROWS, 2),
        lambda: integer_quotient(-7, 2),
    ):
        with pytest.raises(UnknownElement):
            refused()


def test_comparisons_hold_for_every_number_of_rows_or_are_unknown():
    """One row more is never as many rows; whether there are four rows is not known."""
    assert elements_equal(ROWS, ROWS)
    assert not elements_equal(ROWS + 1, ROWS)
    assert extreme_element(lambda difference: difference > 0)(ROWS, ROWS + 1) == ROWS + 1
    for refused in (lambda: elements_equal(ROWS, 4), lambda: extreme_element(lambda _: True)(ROWS, 4)):
        with pytest.raises(UnknownElement):
            refused()


def test_sizes_are_whole_and_no_numbers():
    """Rounding leaves them as they are."""
    assert (rounded_by(math.floor)(ROWS), rounded_by(math.floor)(2.5)) == (ROWS, 2)
    assert (chosen_element(True, ROWS, 1), number_of(2.5)) == (ROWS, 2.5)
    with pytest.raises(UnknownElement):
        number_of(ROWS)

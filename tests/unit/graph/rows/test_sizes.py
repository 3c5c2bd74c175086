"""Sizes as polynomials."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.graph.rows.sizes import (
    ROWS,
    counts_rows,
    divide,
    floor_divide,
    never_equal,
    product,
    symbol,
    unknown_size,
)

T, D = symbol("T"), symbol("D")
SIZES = st.recursive(
    st.sampled_from([1, 2, 3, -1, ROWS, T, D]),
    lambda inner: st.tuples(st.sampled_from("+*-"), inner, inner).map(
        lambda made: {"+": made[1] + made[2], "*": made[1] * made[2], "-": made[1] - made[2]}[made[0]]
    ),
    max_leaves=6,
)


@given(SIZES, SIZES)
def test_division_undoes_multiplication(one, other):
    """Exactly, with several symbols and signs."""
    if other != 0:
        assert divide(one * other, other) == one


@given(SIZES, SIZES)
def test_quotient_times_divisor_is_the_size(one, other):
    """Where there is a quotient at all."""
    quotient = divide(one, other)
    assert quotient is None or quotient * other == one


def test_sizes_without_symbols_are_integers():
    """So that a constant is recognised by its type."""
    assert ROWS - ROWS == 0
    assert (ROWS + 3) - ROWS == 3
    assert isinstance((T + 1) - T, int)
    assert product([]) == 1


def test_division_is_refused_where_it_is_not_exact():
    """No rounding is assumed."""
    assert divide(ROWS * 5, 12) is None
    assert divide(ROWS + 1, ROWS) is None
    assert divide(ROWS, 0) is None
    assert divide(ROWS * T * 768, T * 768) == ROWS


def test_rounded_division_keeps_a_dependence_on_rows():
    """Half of the rows is a number that depends on them; half of a length is not, and equal halves are equal."""
    assert counts_rows(floor_divide(ROWS, 2))
    assert not counts_rows(floor_divide(T, 2))
    assert floor_divide(T, 2) == floor_divide(T, 2) != floor_divide(T, 3)
    assert floor_divide(ROWS * 4, 2) == ROWS * 2
    assert floor_divide(7, 2) == 3


def test_sizes_that_never_are_equal():
    """A shape is never -1; a number of rows may be 1."""
    assert never_equal(ROWS, -1)
    assert never_equal(ROWS + 2, 1)
    assert not never_equal(ROWS, 1)
    assert not never_equal(ROWS, T)
    assert never_equal(2, 3)


def test_unknown_sizes_differ():
    """Nothing is concluded from two unknown numbers."""
    assert unknown_size() != unknown_size()
    assert counts_rows(unknown_size(counts_rows=True))

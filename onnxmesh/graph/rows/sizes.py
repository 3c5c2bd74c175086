"""Sizes of dimensions: integers, or polynomials in symbols such as the number of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, TypeAlias, Union

Monomial: TypeAlias = tuple["Symbol", ...]
Dim: TypeAlias = Union[int, "Size"]


class Symbol(NamedTuple):
    """A number that is known only when the model runs.

    Attributes:
        name: Equal for equal numbers.
        counts_rows: Whether it depends on the number of rows.
    """

    name: str
    counts_rows: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A polynomial with integer coefficients that is no constant; constants are plain integers.

    Attributes:
        terms: Coefficient of each product of symbols; no coefficient is 0.
    """

    terms: frozenset[tuple[Monomial, int]]

    @property
    def counts_rows(self) -> bool:
        """Whether it depends on the number of rows."""
        return any(symbol.counts_rows for monomial, _ in self.terms for symbol in monomial)

    def __add__(self, other: Dim) -> Dim:
        """Returns the sum."""
        return _sum([*_terms(self), *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Dim:
        """Returns the negative."""
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        """Returns the difference."""
        return self + other * -1

    def __rsub__(self, other: Dim) -> Dim:
        """Returns the difference."""
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        """Returns the product."""
        return _sum(
            (tuple(sorted(left + right)), one * two)
            for left, one in _terms(self)
            for right, two in _terms(other)
        )

    __rmul__ = __mul__

    def __str__(self) -> str:
        """Returns the polynomial as text that is equal for equal polynomials."""
        ordered = sorted(self.terms, key=lambda term: (-len(term[0]), term[0]))
        return " + ".join(
            "*".join([*([str(factor)] if factor != 1 or not monomial else []), *(s.name for s in monomial)])
            for monomial, factor in ordered
        )


ROWS_SYMBOL = Symbol("rows", counts_rows=True)
ROWS = Size(frozenset({((ROWS_SYMBOL,), 1)}))
"""The number of rows of a run."""

_numbers = count()


def symbol(name: str, *, counts_rows: bool = False) -> Size:
    """Returns the size with a name."""
    return Size(frozenset({((Symbol(name, counts_rows),), 1)}))


def unknown_size(*, counts_rows: bool = False) -> Size:
    """Returns a size that equals no other."""
    return symbol(f"?{next(_numbers)}", counts_rows=counts_rows)


def counts_rows(size: Dim | float) -> bool:
    """Whether a size depends on the number of rows."""
    return isinstance(size, Size) and size.counts_rows


def product(sizes: Iterable[Dim]) -> Dim:
    """Returns the product; 1 if there are none."""
    found: Dim = 1
    for size in sizes:
        found = found * size
    return found


def divide(size: Dim, by: Dim) -> Dim | None:
    """Returns the quotient where it is a polynomial with integer coefficients; else None."""
    if by == 0:
        return None
    remainder: Dim = size
    quotient: Dim = 0
    lead_by, factor_by = _lead(by)
    while remainder != 0:
        lead, factor = _lead(remainder)
        rest = _without(lead, lead_by)
        if rest is None or factor % factor_by:
            return None
        term = _sum([(rest, factor // factor_by)])
        quotient = quotient + term
        remainder = remainder - term * by
    return quotient


def floor_divide(size: Dim, by: int) -> Dim:
    """Returns the quotient, rounded down; a symbol of its own where that is not known."""
    if isinstance(size, int):
        return size // by
    exact = divide(size, by)
    return symbol(f"({size})//{by}", counts_rows=size.counts_rows) if exact is None else exact


def never_equal(one: Dim, other: Dim) -> bool:
    """Whether two sizes differ for every value of their symbols, none of which is negative."""
    difference = one - other
    if isinstance(difference, int):
        return difference != 0
    factors = dict(difference.terms)
    constant = factors.pop((), 0)
    return (constant > 0 and all(factor > 0 for factor in factors.values())) or (
        constant < 0 and all(factor < 0 for factor in factors.values())
    )


def _terms(size: Dim) -> Iterable[tuple[Monomial, int]]:
    if isinstance(size, Size):
        return size.terms
    return [((), size)] if size else []


def _sum(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    factors: dict[Monomial, int] = {}
    for monomial, factor in terms:
        factors[monomial] = factors.get(monomial, 0) + factor
    factors = {monomial: factor for monomial, factor in factors.items() if factor}
    if not factors:
        return 0
    if len(factors) == 1 and () in factors:
        return factors[()]
    return Size(frozenset(factors.items()))


def _lead(size: Dim) -> tuple[Monomial, int]:
    """Returns the leading term in graded order, which products keep."""
    # By degree, then by the sorted symbols: an order that is kept when both sides are multiplied by a monomial.
    return max(_terms(size), key=lambda term: (len(term[0]), term[0]))


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(monomial)
    for each in divisor:
        if each not in rest:
            return None
        rest.remove(each)
    return tuple(rest)

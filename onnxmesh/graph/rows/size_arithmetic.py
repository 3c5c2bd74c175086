"""Arithmetic of the elements of small values: numbers, truth values, and sizes with symbols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onnxmesh.graph.rows.sizes import Size, divide, floor_divide, never_equal


class UnknownElement(Exception):
    """An element does not follow from shapes and constants."""


def element_product(one: Any, other: Any) -> Any:
    """Returns the product."""
    if isinstance(one, float) or isinstance(other, float):
        return _integral(number_of(one) * number_of(other))
    return one * other


def element_sum(one: Any, other: Any) -> Any:
    """Returns the sum."""
    if isinstance(one, float) or isinstance(other, float):
        return _integral(number_of(one) + number_of(other))
    return one + other


def element_difference(one: Any, other: Any) -> Any:
    """Returns the difference."""
    return element_sum(one, element_product(other, -1))


def integer_quotient(one: Any, other: Any) -> Any:
    """Returns the quotient of integers, rounded as ONNX does; a symbol of its own where that is not known."""
    if isinstance(one, float) or isinstance(other, float):
        return _integral(number_of(one) / number_of(other))
    exact = divide(one, other)
    if exact is not None:
        return exact
    if isinstance(one, Size) and isinstance(other, int) and other > 0:
        return floor_divide(one, other)
    if isinstance(one, int) and isinstance(other, int) and one >= 0 and other > 0:
        return one // other
    raise UnknownElement


def float_quotient(one: Any, other: Any) -> Any:
    """Returns the quotient of floats."""
    exact = divide(one, other) if not isinstance(one, float) and not isinstance(other, float) else None
    return _integral(number_of(one) / number_of(other)) if exact is None else exact


def exact_quotient(one: Any, other: Any) -> Any:
    """Returns the quotient where it is whole, and so the same for integers and floats."""
    exact = divide(one, other)
    if exact is None:
        raise UnknownElement
    return exact


def number_of(value: Any) -> float:
    """Returns an element that is a number, not a size."""
    if isinstance(value, (int, float)):
        return value
    raise UnknownElement


def _integral(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def rounded_by(rounding: Callable[[float], int]) -> Callable[[Any], Any]:
    """Returns the operation that rounds; sizes are whole."""
    return lambda value: value if isinstance(value, Size) else rounding(number_of(value))


def elements_equal(one: Any, other: Any) -> bool:
    """Whether two elements are equal for every value of their symbols."""
    if not isinstance(one, Size) and not isinstance(other, Size):
        return bool(one == other)
    if one == other:
        return True
    if never_equal(one, other):
        return False
    raise UnknownElement


def chosen_element(condition: Any, one: Any, other: Any) -> Any:
    """Returns one of two elements."""
    return one if condition else other


def extreme_element(better: Callable[[int], bool]) -> Callable[..., Any]:
    """Returns the operation that takes the largest or smallest of its elements.

    Args:
        better: Whether an element is better than the best so far, by their difference.
    """

    def choose(*values: Any) -> Any:
        best = values[0]
        for value in values[1:]:
            difference = element_difference(value, best)
            if isinstance(difference, Size):
                raise UnknownElement
            best = value if better(difference) else best
        return best

    return choose

"""How a value depends on the rows of a run, and what is known about its shape and elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxmesh.graph.reading.value_types import Dim as DeclaredDim
from onnxmesh.graph.rows.sizes import ROWS, Dim, counts_rows, divide, product, symbol

Contents: TypeAlias = npt.NDArray[np.object_]
"""Elements of a small value: integers, sizes, truth values and floats."""


@dataclass(frozen=True, slots=True)
class Shared:
    """The value depends neither on the rows nor on their number."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Slice i of the value depends on row i of the model's inputs alone.

    The axis has `outer * rows * inner` positions: index o * rows * inner + i * inner + k belongs to row i.

    Attributes:
        axis: The axis, from 0.
        outer: Positions of the axis outside the rows.
        inner: Positions of each row.
    """

    axis: int
    outer: Dim = 1
    inner: Dim = 1


@dataclass(frozen=True, slots=True)
class RowCount:
    """The value depends on the number of rows, not on the rows: a shape, positions."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """An element may depend on several rows.

    Attributes:
        reason: Where rows meet, or why that is not known.
        output: The output in which they do.
    """

    reason: str
    output: str


RowState: TypeAlias = Shared | Rows | RowCount | Mixed
SHARED = Shared()
ROW_COUNT = RowCount()


@dataclass(frozen=True, slots=True)
class RowValue:
    """What is known about one value of a graph.

    Attributes:
        state: How it depends on rows.
        shape: Its dimensions; None if the rank is unknown or the value is no tensor. Always known for `Rows`.
        contents: Its elements where it is small and they are known.
    """

    state: RowState
    shape: tuple[Dim, ...] | None = None
    contents: Contents | None = None

    @property
    def dims(self) -> tuple[Dim, ...]:
        """Its dimensions; an empty tuple where they are not known."""
        return self.shape or ()

    @property
    def may_be_batched(self) -> bool:
        """Whether it has one row at each index of its first axis, where workers join and split, or is shared."""
        return isinstance(self.state, Shared) or self.state == Rows(0)


def row_input(shape: tuple[Dim, ...]) -> RowValue:
    """Returns an input of the model: one row at each index of its first dimension."""
    return RowValue(Rows(0), (ROWS, *shape[1:]))


def declared_input(name: str, declared: Sequence[DeclaredDim]) -> RowValue:
    """Returns an input of the model as it is declared: free dimensions are symbols, equal for equal names.

    Args:
        name: Of the input.
        declared: Its dimensions; the first is the number of rows.
    """
    return row_input(
        tuple(
            dim
            if isinstance(dim, int) and dim >= 0
            else symbol(dim if isinstance(dim, str) and dim else f"{name}.{axis}")
            for axis, dim in enumerate(declared)
        )
    )


def same_rows(one: RowValue, axis: int, other: RowValue, other_axis: int) -> bool:
    """Whether index i of an axis of one value and of another belong to the same row."""
    left, right = one.state, other.state
    return (
        isinstance(left, Rows)
        and isinstance(right, Rows)
        and (left.axis, right.axis) == (axis, other_axis)
        and (left.outer, left.inner) == (right.outer, right.inner)
    )


def rows_after_reshape(value: RowValue, shape: tuple[Dim, ...]) -> Rows | None:
    """Returns where the rows are after a reshape that keeps the order of elements; None if no axis holds them.

    Args:
        value: A value with rows.
        shape: The new dimensions, with the same number of elements.
    """
    state = value.state
    if not isinstance(state, Rows):
        return None
    before = product([*value.dims[: state.axis], state.outer])
    with_rows = [axis for axis, dim in enumerate(shape) if counts_rows(dim)]
    if len(with_rows) != 1:
        return None
    (axis,) = with_rows
    outer = divide(before, product(shape[:axis]))
    block = divide(shape[axis], ROWS)
    if outer is None or block is None or counts_rows(block):
        return None
    inner = divide(block, outer)
    return None if inner is None or counts_rows(inner) else Rows(axis, outer, inner)


def as_contents(values: Any) -> Contents:
    """Returns elements as an array of objects, with integral floats as integers."""
    array = np.asarray(values)
    found = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        element: Any = array[index]
        plain: Any = element.item() if isinstance(element, np.generic) else element
        found[index] = int(plain) if isinstance(plain, float) and plain.is_integer() else plain
    return found

"""A node as the rules of operators read it: attributes, inputs, and the refusals that a rule raises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxmesh.graph.reading.attributes import int_attribute, ints_attribute, string_attribute
from onnxmesh.graph.rows.row_state import SHARED, RowCount, Rows, RowState, RowValue
from onnxmesh.graph.rows.sizes import ROWS, Dim, counts_rows


class RowsMeet(Exception):
    """Elements of several rows are combined in a node."""


class NotProven(Exception):
    """A rule cannot decide whether rows meet; the text says why."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node with what is known about its inputs.

    Attributes:
        node: The node.
        inputs: What is known about each input; None where it is omitted.
        version: Version of the operator set that the node belongs to.
    """

    node: ir.Node
    inputs: Sequence[RowValue | None]
    version: int

    @property
    def num_outputs(self) -> int:
        """The number of outputs, the omitted ones included."""
        return len(self.node.outputs)

    def has_output(self, index: int) -> bool:
        """Whether an output is used, that is, has a name."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index].name)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> RowValue:
        """Returns an input.

        Raises:
            NotProven: It is omitted.
        """
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise NotProven(f"input {index} is missing")
        return value

    @property
    def given(self) -> list[RowValue]:
        """The inputs that are not omitted."""
        return [value for value in self.inputs if value is not None]

    def int_attribute(self, name: str, default: int) -> int:
        """Returns an integer attribute."""
        return int_attribute(self.node, name, default)

    def ints_attribute(self, name: str) -> tuple[int, ...]:
        """Returns an attribute that is a list of integers; an empty tuple where it is missing."""
        return ints_attribute(self.node, name)

    def text_attribute(self, name: str, default: str = "") -> str:
        """Returns a string attribute."""
        return string_attribute(self.node, name) or default

    def shape(self, index: int) -> tuple[Dim, ...]:
        """Returns the dimensions of an input.

        Raises:
            NotProven: They are not known.
        """
        shape = self.input(index).shape
        if shape is None:
            raise NotProven(f"the rank of input {index} is not known")
        return shape

    def axis(self, axis: int, rank: int) -> int:
        """Returns an axis counted from 0.

        Raises:
            NotProven: There is no such axis.
        """
        if not -rank <= axis < rank:
            raise NotProven(f"axis {axis} is not one of {rank}")
        return axis + rank if axis < 0 else axis

    def contents(self, index: int) -> list[Dim]:
        """Returns the elements of an input that is a shape, axes or bounds, as a flat list.

        Raises:
            NotProven: They are not known.
        """
        value = self.input(index)
        if value.contents is None:
            what = "on the number of rows" if isinstance(value.state, RowCount) else "on its data"
            raise NotProven(f"its input {index} is not known: it depends {what}")
        return list(value.contents.reshape(-1).tolist())

    def constants(self, index: int) -> list[int]:
        """Returns the elements of an input that must be integers, the same for any model input.

        Raises:
            NotProven: They are not.
        """
        found = self.contents(index)
        if not all(isinstance(each, int) for each in found):
            raise NotProven(f"its input {index} is not constant")
        return [each for each in found if isinstance(each, int)]

    def rows(self, index: int) -> Rows | None:
        """Returns where an input has its rows; None if it is shared or omitted.

        Raises:
            RowsMeet: It depends on the number of rows.
        """
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            return None
        if isinstance(value.state, RowCount):
            raise RowsMeet("uses the number of rows as data")
        return value.state if isinstance(value.state, Rows) else None

    def require_shared(self, *indices: int) -> None:
        """Checks that inputs are the same for all rows.

        Raises:
            NotProven: One of them has rows.
        """
        for index in indices:
            if self.rows(index) is not None:
                raise NotProven(f"its input {index} depends on rows")

    def require_first_axis(self, *indices: int) -> None:
        """Checks that inputs have one row at each index of their first axis.

        Raises:
            RowsMeet, NotProven: One of them has rows at another axis, or none.
        """
        for index in indices:
            rows = self.rows(index)
            if rows is None:
                raise NotProven(f"its input {index} is shared by all rows")
            if rows.axis != 0:
                raise RowsMeet(f"has rows at axis {rows.axis} of its input {index}")


def refuse_axis(rows: Rows | None, axis: int) -> None:
    """Checks that a node does not work along the axis that holds the rows.

    Raises:
        RowsMeet: It does.
    """
    if rows is not None and rows.axis == axis:
        raise RowsMeet(f"works along axis {axis}, which holds the rows")


def shared(shape: Sequence[Dim] | None = None) -> RowValue:
    """Returns a value that all rows share."""
    return RowValue(SHARED, None if shape is None else tuple(shape))


def result(rows: Rows | None, shape: Sequence[Dim]) -> RowValue:
    """Returns an output with rows at an axis, whose size is set by them; a shared one without rows."""
    if rows is None:
        return shared(shape)
    dims = list(shape)
    dims[rows.axis] = rows.outer * ROWS * rows.inner
    if any(counts_rows(dim) for axis, dim in enumerate(dims) if axis != rows.axis):
        raise RowsMeet("has the number of rows as the size of another axis too")
    state: RowState = rows
    return RowValue(state, tuple(dims))

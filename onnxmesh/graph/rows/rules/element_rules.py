"""Rules of operators that compute each element from the elements at the same indices, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.sizes import Dim, counts_rows, unknown_size


def element_wise(view: NodeView) -> list[RowValue]:
    """All inputs are broadcast; every output has the broadcast shape."""
    if view.int_attribute("broadcast", 0):
        raise NotProven("it broadcasts by the rule of operator sets before 7")
    found = broadcast(view, range(len(view.inputs)))
    return [found] * view.num_outputs


def first_input_wise(view: NodeView) -> list[RowValue]:
    """Elements of input 0 are mapped one by one; the other inputs are parameters."""
    view.require_shared(*range(1, len(view.inputs)))
    found = result(view.rows(0), view.shape(0))
    return [found] * view.num_outputs


def dropout(view: NodeView) -> list[RowValue]:
    """Dropout of inference, which passes its input on."""
    if view.has(2) and any(view.contents(2)):
        raise NotProven("it is in training mode: its result is random")
    if view.version < 7 and not view.int_attribute("is_test", 0):
        raise NotProven("it is in training mode: its result is random")
    return [result(view.rows(0), view.shape(0))] * view.num_outputs


def quantized(view: NodeView) -> list[RowValue]:
    """Elements with a scale and a zero point: of the whole tensor, or of each index of an axis that is not the rows'."""
    rows, shape = view.rows(0), view.shape(0)
    view.require_shared(*range(1, len(view.inputs)))
    scale = view.shape(1)
    if rows is not None and scale not in ((), (1,)):
        if len(scale) == 1 and not view.int_attribute("block_size", 0):
            axis = view.axis(view.int_attribute("axis", 1), len(shape))
            if axis == rows.axis:
                raise NotProven("it has a scale for each index of the rows' axis")
        else:
            raise NotProven("it has scales of blocks")
    return [result(rows, shape)]


def quantized_pair(view: NodeView) -> list[RowValue]:
    """Sum or product of two quantised tensors, each followed by its scale and zero point."""
    view.require_shared(1, 2, 4, 5, 6, 7)
    return [broadcast(view, (0, 3))]


def quantized_where(view: NodeView) -> list[RowValue]:
    """Choice between two quantised tensors, each followed by its scale and zero point."""
    view.require_shared(2, 3, 5, 6, 7, 8)
    return [broadcast(view, (0, 1, 4))]


def parametric(view: NodeView) -> list[RowValue]:
    """Input 0 with inputs that are broadcast to it."""
    found = broadcast(view, range(len(view.inputs)))
    if len(found.dims) != len(view.shape(0)):
        raise NotProven("a parameter has more axes than its input 0")
    return [found]


def broadcast(view: NodeView, indices: Sequence[int]) -> RowValue:
    """Returns the result of inputs that are broadcast to one shape.

    Raises:
        RowsMeet: Rows are at different axes, or in different positions of one.
        NotProven: A shared input has several indices at the rows' axis, or an unknown rank.
    """
    given = [index for index in indices if view.has(index)]
    rows_of = {index: rows for index in given if (rows := view.rows(index)) is not None}
    rank = max((len(view.input(index).dims) for index in given), default=0)
    if not rows_of:
        if any(view.input(index).shape is None for index in given):
            return shared()
        return shared(broadcast_shape([view.shape(index) for index in given]))
    aligned = {
        Rows(rows.axis + rank - len(view.shape(index)), rows.outer, rows.inner)
        for index, rows in rows_of.items()
    }
    if len(aligned) > 1:
        raise RowsMeet("combines rows with rows at another axis")
    (rows,) = aligned
    for index in given:
        shape = view.shape(index)
        axis = rows.axis - (rank - len(shape))
        if index not in rows_of and axis >= 0 and shape[axis] != 1:
            raise NotProven(f"its input {index} has a fixed size at the rows' axis")
    return result(rows, broadcast_shape([view.shape(index) for index in given]))


def broadcast_shape(shapes: Sequence[Sequence[Dim]]) -> list[Dim]:
    """Returns the shape that results from broadcasting."""
    rank = max(map(len, shapes), default=0)
    found: list[Dim] = []
    for axis in range(rank):
        sizes = {shape[axis - rank + len(shape)] for shape in shapes if axis - rank + len(shape) >= 0}
        sizes.discard(1)
        fixed = [size for size in sizes if isinstance(size, int)]
        if not sizes:
            found.append(1)
        elif len(sizes) == 1:
            found.append(sizes.pop())
        elif fixed:
            # A symbolic size beside a fixed one is 1 or equal to it.
            found.append(fixed[0])
        else:
            found.append(unknown_size(counts_rows=any(map(counts_rows, sizes))))
    return found

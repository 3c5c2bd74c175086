"""Rules of operators that select or place elements by indices: row-wise where data and indices have the same rows."""

from __future__ import annotations

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, refuse_axis, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue, same_rows
from onnxmesh.graph.rows.sizes import unknown_size


def gather(view: NodeView) -> list[RowValue]:
    """Selection of indices along an axis."""
    data, indices = view.shape(0), view.shape(1)
    axis = view.axis(view.int_attribute("axis", 0), len(data))
    of_data, of_indices = view.rows(0), view.rows(1)
    shape = [*data[:axis], *indices, *data[axis + 1 :]]
    if of_data is not None and of_indices is not None:
        raise RowsMeet("selects from all rows by indices that depend on rows")
    if of_indices is not None:
        return [result(Rows(axis + of_indices.axis, of_indices.outer, of_indices.inner), shape)]
    if of_data is None:
        return [shared(shape)]
    if of_data.axis == axis:
        raise RowsMeet(f"selects along axis {axis}, which holds the rows")
    after = len(indices) - 1 if of_data.axis > axis else 0
    return [result(Rows(of_data.axis + after, of_data.outer, of_data.inner), shape)]


def gather_elements(view: NodeView) -> list[RowValue]:
    """Selection of elements along an axis, at each index of the others."""
    data, indices = view.shape(0), view.shape(1)
    axis = view.axis(view.int_attribute("axis", 0), len(data))
    rows = view.rows(1) or view.rows(0)
    if rows is None:
        return [shared(indices)]
    refuse_axis(rows, axis)
    if not same_rows(view.input(0), rows.axis, view.input(1), rows.axis):
        raise NotProven("its data and its indices do not both have rows at one axis")
    return [result(rows, indices)]


def gather_nd(view: NodeView) -> list[RowValue]:
    """Selection of slices by tuples of indices, within each index of the batch axes."""
    data, indices = view.shape(0), view.shape(1)
    batch = view.int_attribute("batch_dims", 0)
    of_data, of_indices = view.rows(0), view.rows(1)
    depth = indices[-1]
    if not isinstance(depth, int):
        raise NotProven("the length of its index tuples is not known")
    shape = [*indices[:-1], *data[batch + depth :]]
    if of_data is None and of_indices is None:
        return [shared(shape)]
    if of_indices is not None and of_indices.axis == len(indices) - 1:
        raise RowsMeet("has indices made of several rows")
    if of_data is None and of_indices is not None:
        if of_indices.axis < batch:
            raise NotProven("its data is shared and has a fixed size at the rows' axis")
        return [result(of_indices, shape)]
    if of_data is not None and of_indices is None:
        if of_data.axis < batch + depth:
            raise RowsMeet(f"selects along axis {of_data.axis}, which holds the rows")
        moved = len(indices) - 1 - batch - depth
        return [result(Rows(of_data.axis + moved, of_data.outer, of_data.inner), shape)]
    if of_data != of_indices or of_data is None or of_data.axis >= batch:
        raise RowsMeet("selects from all rows by indices that depend on rows")
    return [result(of_data, shape)]


def scatter_elements(view: NodeView) -> list[RowValue]:
    """Assignment of elements along an axis, at each index of the others."""
    shape, rows = view.shape(0), view.rows(0)
    axis = view.axis(view.int_attribute("axis", 0), len(shape))
    refuse_axis(rows, axis)
    if rows is None or any(
        not same_rows(view.input(0), rows.axis, view.input(index), rows.axis) for index in (1, 2)
    ):
        raise NotProven("its inputs do not all have rows at one axis")
    return [result(rows, shape)]


def one_hot(view: NodeView) -> list[RowValue]:
    """Indices as vectors along a new axis."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(1, 2)
    axis = view.axis(view.int_attribute("axis", -1), len(shape) + 1)
    known = view.input(1).contents
    depth = unknown_size() if known is None else known.reshape(-1)[0]
    if rows is not None and rows.axis >= axis:
        rows = Rows(rows.axis + 1, rows.outer, rows.inner)
    return [result(rows, [*shape[:axis], depth, *shape[axis:]])]


def reverse_sequence(view: NodeView) -> list[RowValue]:
    """Reversal of the first elements of each sequence of a batch."""
    shape, rows = view.shape(0), view.rows(0)
    batch = view.axis(view.int_attribute("batch_axis", 1), len(shape))
    refuse_axis(rows, view.axis(view.int_attribute("time_axis", 0), len(shape)))
    if rows is None or not same_rows(view.input(0), batch, view.input(1), 0):
        raise NotProven("its sequence lengths have no rows at the batch axis")
    return [result(rows, shape)]


def triangle(view: NodeView) -> list[RowValue]:
    """Upper or lower triangle of the last two axes."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(1)
    if rows is not None and rows.axis >= len(shape) - 2:
        raise RowsMeet("works over its last two axes, which hold the rows")
    return [result(rows, shape)]

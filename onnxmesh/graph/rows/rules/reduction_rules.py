"""Rules of operators that combine elements along axes: row-wise unless one of them holds the rows."""

from __future__ import annotations

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, refuse_axis, result
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.rules.element_rules import broadcast
from onnxmesh.graph.rows.sizes import Dim, unknown_size


def along_axis(view: NodeView, default: int = -1) -> list[RowValue]:
    """The shape stays; elements along the attribute `axis` are combined."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(*range(1, len(view.inputs)))
    refuse_axis(rows, view.axis(view.int_attribute("axis", default), len(shape)))
    return [result(rows, shape)] * view.num_outputs


def softmax(view: NodeView) -> list[RowValue]:
    """Softmax and its kin: along one axis; before operator set 13 over all axes from it on."""
    if view.version >= 13:
        return along_axis(view)
    return trailing_axes(view, 1)


def quantized_softmax(view: NodeView) -> list[RowValue]:
    """QLinearSoftmax, whose attribute names the operator set that it follows."""
    if view.int_attribute("opset", 0) >= 13:
        return along_axis(view)
    return trailing_axes(view, 1)


def trailing_axes(view: NodeView, default: int = -1) -> list[RowValue]:
    """Elements of all axes from the attribute `axis` on are combined; further inputs are broadcast."""
    shape, rows = view.shape(0), view.rows(0)
    axis = view.axis(view.int_attribute("axis", default), len(shape))
    if rows is not None and rows.axis >= axis:
        raise RowsMeet(f"works over the axes from {axis} on, which hold the rows")
    found = broadcast(view, range(len(view.inputs)))
    if len(found.dims) != len(shape):
        raise NotProven("a parameter has more axes than its input 0")
    statistics = result(rows, [*shape[:axis], *[1] * (len(shape) - axis)])
    return [found, *[statistics] * (view.num_outputs - 1)]


def reduction(view: NodeView) -> list[RowValue]:
    """Reduction over axes, from an attribute or input 1; without axes over all."""
    shape, rows = view.shape(0), view.rows(0)
    axes = view.constants(1) if view.has(1) else list(view.ints_attribute("axes"))
    if not axes and view.int_attribute("noop_with_empty_axes", 0):
        return [result(rows, shape)]
    reduced = {view.axis(axis, len(shape)) for axis in axes} or set(range(len(shape)))
    return [_reduced(view, rows, shape, reduced)]


def arg_extreme(view: NodeView) -> list[RowValue]:
    """Index of the largest or smallest element along an axis."""
    shape, rows = view.shape(0), view.rows(0)
    return [_reduced(view, rows, shape, {view.axis(view.int_attribute("axis", 0), len(shape))})]


def quantized_mean(view: NodeView) -> list[RowValue]:
    """QLinearReduceMean: quantised, over the axes of an attribute."""
    view.require_shared(*range(1, len(view.inputs)))
    shape, rows = view.shape(0), view.rows(0)
    axes = {view.axis(axis, len(shape)) for axis in view.ints_attribute("axes")} or set(range(len(shape)))
    return [_reduced(view, rows, shape, axes)]


def _reduced(view: NodeView, rows: Rows | None, shape: tuple[Dim, ...], axes: set[int]) -> RowValue:
    if rows is not None and rows.axis in axes:
        raise RowsMeet(f"reduces axis {rows.axis}, which holds the rows")
    if view.int_attribute("keepdims", 1):
        return result(rows, [1 if axis in axes else dim for axis, dim in enumerate(shape)])
    if rows is not None:
        rows = Rows(rows.axis - sum(axis < rows.axis for axis in axes), rows.outer, rows.inner)
    return result(rows, [dim for axis, dim in enumerate(shape) if axis not in axes])


def top_k(view: NodeView) -> list[RowValue]:
    """Largest elements along an axis, and their indices."""
    shape, rows = list(view.shape(0)), view.rows(0)
    view.require_shared(1)
    axis = view.axis(view.int_attribute("axis", -1), len(shape))
    refuse_axis(rows, axis)
    if view.version < 10:
        shape[axis] = view.int_attribute("k", 1)
    else:
        known = view.input(1).contents
        shape[axis] = unknown_size() if known is None else known.reshape(-1)[0]
    return [result(rows, shape)] * view.num_outputs


def cumulative(view: NodeView) -> list[RowValue]:
    """Cumulative sum along the axis of input 1."""
    shape, rows = view.shape(0), view.rows(0)
    (axis,) = view.constants(1)
    refuse_axis(rows, view.axis(axis, len(shape)))
    return [result(rows, shape)]

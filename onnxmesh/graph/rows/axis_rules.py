"""Rules of operators that combine elements along an axis: row-wise unless the axis holds the rows."""

from __future__ import annotations

from onnxmesh.graph.rows.element_rules import broadcast
from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue, same_rows
from onnxmesh.graph.rows.sizes import ROWS, Dim, counts_rows, floor_divide, unknown_size

_WHOLE_AXIS = 10**9
"""Ends of slices from here on mean the end of the axis: no run has that many rows."""


def _refuse(rows: Rows | None, axis: int) -> None:
    if rows is not None and rows.axis == axis:
        raise RowsMeet(f"works along axis {axis}, which holds the rows")


def along_axis(view: NodeView, default: int = -1) -> list[RowValue]:
    """The shape stays; elements along the attribute `axis` are combined."""
    shape, rows = view.shape(0), view.rows(0)
    view.require_shared(*range(1, len(view.inputs)))
    _refuse(rows, view.axis(view.int_attribute("axis", default), len(shape)))
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
    _refuse(rows, axis)
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
    _refuse(rows, view.axis(axis, len(shape)))
    return [result(rows, shape)]


def concatenation(view: NodeView) -> list[RowValue]:
    """Concatenation along an axis."""
    return [_concatenated(view, list(range(len(view.inputs))))]


def feature_concatenation(view: NodeView) -> list[RowValue]:
    """FeatureVectorizer: features of each row side by side."""
    for index in range(len(view.inputs)):
        if view.rows(index) != Rows(0) or len(view.shape(index)) != 2:
            raise NotProven(f"its input {index} has not two axes, with a row at each index of the first")
    return [result(Rows(0), [ROWS, unknown_size()])]


def quantized_concatenation(view: NodeView) -> list[RowValue]:
    """QLinearConcat: scale and zero point of the output, then each tensor with its own."""
    data = list(range(2, len(view.inputs), 3))
    view.require_shared(*[index for index in range(len(view.inputs)) if index not in data])
    return [_concatenated(view, data)]


def _concatenated(view: NodeView, indices: list[int]) -> RowValue:
    shapes = [view.shape(index) for index in indices]
    axis = view.axis(view.int_attribute("axis", 1), len(shapes[0]))
    rows_of = {view.rows(index) for index in indices}
    joined = list(shapes[0])
    joined[axis] = sum((shape[axis] for shape in shapes[1:]), start=shapes[0][axis])
    if rows_of == {None}:
        return shared(joined)
    if None in rows_of:
        raise NotProven("one of its inputs is shared and has a fixed size at the rows' axis")
    if len(rows_of) > 1:
        raise RowsMeet("concatenates rows that are at different axes")
    (rows,) = rows_of
    if rows is not None and rows.axis == axis:
        raise RowsMeet(f"concatenates along axis {axis}, which holds the rows")
    return result(rows, joined)


def split_parts(view: NodeView) -> list[RowValue]:
    """Split along an axis, in equal parts or in the sizes of an attribute or input 1."""
    shape, rows = view.shape(0), view.rows(0)
    axis = view.axis(view.int_attribute("axis", 0), len(shape))
    view.require_shared(1)
    _refuse(rows, axis)
    sizes: list[Dim]
    if view.has(1):
        known = view.input(1).contents
        sizes = [unknown_size()] * view.num_outputs if known is None else known.reshape(-1).tolist()
    elif view.ints_attribute("split"):
        sizes = list(view.ints_attribute("split"))
    else:
        num = view.num_outputs
        whole = shape[axis]
        part = floor_divide(whole + (num - 1), num) if isinstance(whole, int) else floor_divide(whole, num)
        sizes = [part] * num
        if isinstance(whole, int) and isinstance(part, int):
            sizes[-1] = whole - part * (num - 1)
    return [result(rows, [*shape[:axis], size, *shape[axis + 1 :]]) for size in sizes]


def slices(view: NodeView) -> list[RowValue]:
    """Slices along axes that do not hold the rows, or of all rows."""
    shape, rows = list(view.shape(0)), view.rows(0)
    steps: list[Dim] = []
    if view.version < 10:
        starts: list[Dim] | None = list(view.ints_attribute("starts"))
        ends: list[Dim] | None = list(view.ints_attribute("ends"))
        axes = list(view.ints_attribute("axes"))
    else:
        for index in range(1, len(view.inputs)):
            if view.has(index):
                view.input(index)
        starts, ends = _bounds(view, 1), _bounds(view, 2)
        axes = view.constants(3) if view.has(3) else []
        steps = list(view.constants(4)) if view.has(4) else []
    if starts is None or ends is None:
        if not axes:
            raise NotProven("its bounds and axes are not known")
        for axis in [view.axis(axis, len(shape)) for axis in axes]:
            _refuse(rows, axis)
            shape[axis] = unknown_size()
        return [result(rows, shape)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = view.axis(axes[number] if axes else number, len(shape))
        step = steps[number] if steps else 1
        if rows is not None and axis == rows.axis:
            if not _is_whole(start, end, step, shape[axis]):
                raise RowsMeet(f"slices axis {axis}, which holds the rows")
            continue
        if counts_rows(start) or counts_rows(end):
            raise RowsMeet("has bounds that depend on the number of rows")
        shape[axis] = _sliced(shape[axis], start, end, step)
    return [result(rows, shape)]


def _bounds(view: NodeView, index: int) -> list[Dim] | None:
    """Returns the bounds of slices; None where they are shared by all rows but not known."""
    value = view.input(index)
    if value.contents is None:
        view.require_shared(index)
        return None
    return view.contents(index)


def _is_whole(start: Dim, end: Dim, step: Dim, size: Dim) -> bool:
    return start == 0 and step == 1 and (end == size or (isinstance(end, int) and end >= _WHOLE_AXIS))


def _sliced(size: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    if _is_whole(start, end, step, size):
        return size
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int) and isinstance(step, int):
        last = None if step < 0 and end < -size else end
        return len(range(size)[slice(start, last, step)])
    if step == 1 and isinstance(start, int) and start >= 0 and end == size:
        return unknown_size() if start else size
    return unknown_size()


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
    _refuse(rows, axis)
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
    _refuse(rows, axis)
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
    _refuse(rows, view.axis(view.int_attribute("time_axis", 0), len(shape)))
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

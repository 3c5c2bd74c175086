"""Rules of operators that cut values along an axis, or join them: row-wise unless it holds the rows."""

from __future__ import annotations

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, refuse_axis, result, shared
from onnxmesh.graph.rows.row_state import Rows, RowValue
from onnxmesh.graph.rows.sizes import ROWS, Dim, counts_rows, floor_divide, unknown_size

_WHOLE_AXIS = 10**9
"""Ends of slices from here on mean the end of the axis: no run has that many rows."""


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
    refuse_axis(rows, axis)
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
            refuse_axis(rows, axis)
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

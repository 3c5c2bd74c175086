"""Rules of operators that rearrange, repeat or create elements."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, result, shared
from onnxmesh.graph.rows.row_state import ROW_COUNT, Rows, RowValue, rows_after_reshape
from onnxmesh.graph.rows.rules.element_rules import broadcast_shape
from onnxmesh.graph.rows.sizes import (
    ROWS,
    Dim,
    counts_rows,
    divide,
    floor_divide,
    product,
    unknown_size,
)


def transpose(view: NodeView) -> list[RowValue]:
    """Permutation of axes."""
    shape, rows = view.shape(0), view.rows(0)
    order = view.ints_attribute("perm") or tuple(reversed(range(len(shape))))
    if rows is not None:
        rows = Rows(order.index(rows.axis), rows.outer, rows.inner)
    return [result(rows, [shape[axis] for axis in order])]


def reshape(view: NodeView) -> list[RowValue]:
    """Another shape with the same order of elements."""
    shape = view.shape(0)
    wanted = list(view.contents(1)) if view.has(1) else list(view.ints_attribute("shape"))
    found: list[Dim] = []
    keeps = not view.int_attribute("allowzero", 0)
    for axis, size in enumerate(wanted):
        found.append(shape[axis] if size == 0 and keeps and axis < len(shape) else size)
    if -1 in found:
        at = found.index(-1)
        rest = product(size for axis, size in enumerate(found) if axis != at)
        inferred = divide(product(shape), rest)
        if inferred is None:
            inferred = unknown_size(counts_rows=counts_rows(product(shape)))
        found[at] = inferred
    return [reshaped(view, found)]


def reshaped(view: NodeView, shape: Sequence[Dim]) -> RowValue:
    """Returns input 0 with another shape.

    Raises:
        RowsMeet: The new axes do not keep rows apart.
    """
    if view.rows(0) is None:
        if any(map(counts_rows, shape)):
            raise NotProven("it reshapes a shared value to a shape with the number of rows")
        return shared(shape)
    rows = rows_after_reshape(view.input(0), tuple(shape))
    if rows is None:
        raise RowsMeet(f"has the shape [{', '.join(map(str, shape))}], of which no axis holds the rows")
    return result(rows, shape)


def flatten(view: NodeView) -> list[RowValue]:
    """Two axes: those before and those from an axis on."""
    shape = view.shape(0)
    axis = view.int_attribute("axis", 1)
    axis = axis + len(shape) if axis < 0 else axis
    return [reshaped(view, [product(shape[:axis]), product(shape[axis:])])]


def squeeze(view: NodeView) -> list[RowValue]:
    """Removal of axes of size 1."""
    shape, rows = view.shape(0), view.rows(0)
    axes = {view.axis(axis, len(shape)) for axis in _axes(view)}
    if not axes:
        if rows is not None or any(not isinstance(dim, int) for dim in shape):
            raise NotProven("it removes all axes of size 1, with a single row the rows' too")
        axes = {axis for axis, dim in enumerate(shape) if dim == 1}
    if rows is not None:
        if rows.axis in axes:
            raise RowsMeet("removes the rows' axis")
        rows = Rows(rows.axis - sum(axis < rows.axis for axis in axes), rows.outer, rows.inner)
    return [result(rows, [dim for axis, dim in enumerate(shape) if axis not in axes])]


def unsqueeze(view: NodeView) -> list[RowValue]:
    """New axes of size 1."""
    shape, rows = list(view.shape(0)), view.rows(0)
    axes = _axes(view)
    rank = len(shape) + len(axes)
    new = {view.axis(axis, rank) for axis in axes}
    old = [axis for axis in range(rank) if axis not in new]
    if rows is not None:
        rows = Rows(old[rows.axis], rows.outer, rows.inner)
    return [result(rows, [1 if axis in new else shape[old.index(axis)] for axis in range(rank)])]


def _axes(view: NodeView) -> list[int]:
    return view.constants(1) if view.has(1) else list(view.ints_attribute("axes"))


def expand(view: NodeView) -> list[RowValue]:
    """Broadcast to a shape; a shared value that is repeated for each row has rows."""
    shape, rows, wanted = view.shape(0), view.rows(0), view.contents(1)
    rank = max(len(shape), len(wanted))
    target = [1] * (rank - len(wanted)) + list(wanted)
    whole = [1] * (rank - len(shape)) + list(shape)
    if rows is None:
        return [_repeated(broadcast_shape([whole, target]), whole)]
    axis = rows.axis + rank - len(shape)
    if target[axis] not in (1, whole[axis]):
        raise NotProven("its shape has another size at the rows' axis")
    return [result(Rows(axis, rows.outer, rows.inner), broadcast_shape([whole, target]))]


def _repeated(shape: Sequence[Dim], before: Sequence[Dim]) -> RowValue:
    """Returns a shared value that is repeated along the axes whose size counts rows."""
    with_rows = [axis for axis, dim in enumerate(shape) if counts_rows(dim)]
    if not with_rows:
        return shared(shape)
    inner = divide(shape[with_rows[0]], ROWS)
    if len(with_rows) > 1 or inner is None or counts_rows(inner) or before[with_rows[0]] != 1:
        return RowValue(ROW_COUNT, tuple(shape))
    return result(Rows(with_rows[0], 1, inner), shape)


def tile(view: NodeView) -> list[RowValue]:
    """Repetition along axes."""
    shape, rows, repeats = view.shape(0), view.rows(0), view.contents(1)
    if len(repeats) != len(shape):
        raise NotProven("its repeats are not one for each axis")
    sizes = [dim * repeat for dim, repeat in zip(shape, repeats, strict=True)]
    if rows is not None:
        repeat = repeats[rows.axis]
        if any(map(counts_rows, repeats)) or repeat == 0:
            raise RowsMeet("repeats by the number of rows")
        return [result(Rows(rows.axis, rows.outer * repeat, rows.inner), sizes)]
    with_rows = [axis for axis, repeat in enumerate(repeats) if counts_rows(repeat)]
    if not with_rows:
        return [shared(sizes)]
    (axis,) = with_rows[:1]
    times = divide(repeats[axis], ROWS)
    if len(with_rows) > 1 or times is None or counts_rows(times):
        return [RowValue(ROW_COUNT, tuple(sizes))]
    return [result(Rows(axis, 1, times * shape[axis]), sizes)]


def constant_of_shape(view: NodeView) -> list[RowValue]:
    """A tensor of one number: the same in each row."""
    shape = view.contents(0)
    return [_repeated(shape, [1] * len(shape))]


def constant(view: NodeView) -> list[RowValue]:
    """A constant, whose elements the analysis reads itself."""
    return [shared()]


def positions(view: NodeView) -> list[RowValue]:
    """Range: numbers by position, never row-wise."""
    for index in range(3):
        view.require_shared(index)
    return [shared([unknown_size()])]


def depth_to_space(view: NodeView) -> list[RowValue]:
    """Blocks of channels to positions, within each image."""
    block = view.int_attribute("blocksize", 1)
    batch, channels, height, width = _image(view)
    return [
        result(view.rows(0), [batch, floor_divide(channels, block * block), height * block, width * block])
    ]


def space_to_depth(view: NodeView) -> list[RowValue]:
    """Blocks of positions to channels, within each image."""
    block = view.int_attribute("blocksize", 1)
    batch, channels, height, width = _image(view)
    shape = [batch, channels * block * block, floor_divide(height, block), floor_divide(width, block)]
    return [result(view.rows(0), shape)]


def _image(view: NodeView) -> tuple[Dim, Dim, Dim, Dim]:
    shape = view.shape(0)
    if len(shape) != 4:
        raise NotProven("its input 0 has not four axes")
    if view.rows(0) is not None:
        view.require_first_axis(0)
    return shape[0], shape[1], shape[2], shape[3]


def pad(view: NodeView) -> list[RowValue]:
    """Elements added at the ends of axes that do not hold the rows."""
    shape, rows = list(view.shape(0)), view.rows(0)
    view.require_shared(*range(1, len(view.inputs)))
    pads = (
        view.constants(1)
        if view.has(1)
        else list(view.ints_attribute("pads") or view.ints_attribute("paddings"))
    )
    axes = [view.axis(axis, len(shape)) for axis in (view.constants(3) if view.has(3) else range(len(shape)))]
    if len(pads) != 2 * len(axes):
        raise NotProven("its pads are not two for each axis")
    for number, axis in enumerate(axes):
        before, after = pads[number], pads[number + len(axes)]
        if rows is not None and axis == rows.axis and (before or after):
            raise RowsMeet(f"pads axis {axis}, which holds the rows")
        shape[axis] = shape[axis] + before + after
    return [result(rows, shape)]


def optional_value(view: NodeView) -> list[RowValue]:
    """Optional and OptionalGetElement: the value itself."""
    if not view.given:
        return [shared()]
    value = view.input(0)
    return [result(view.rows(0), value.shape) if value.shape is not None else shared()]


def has_value(view: NodeView) -> list[RowValue]:
    """OptionalHasElement: whether a value is there, which no row decides."""
    return [shared(())]

"""Rules of If, Loop and Scan: conditions and trip counts are shared, and bodies keep rows apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from onnxmesh.graph.reading.attributes import int_attribute, ints_attribute
from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet, shared
from onnxmesh.graph.rows.row_state import Mixed, RowCount, Rows, RowValue, Shared
from onnxmesh.graph.rows.sizes import Dim, Size, unknown_size

AnalyseBody = Callable[[ir.Graph, Sequence[RowValue]], list[RowValue]]
"""Returns the outputs of a body with the given inputs."""

_MAX_PASSES = 16
"""Passes over a body until the states of its carried values are stable; each pass can only widen them."""


def conditional(view: NodeView, analyse: AnalyseBody) -> list[RowValue]:
    """If: both branches are analysed, whatever the condition."""
    _require_shared(view, 0, "condition")
    one = analyse(_body(view, "then_branch"), ())
    other = analyse(_body(view, "else_branch"), ())
    return [_joined(left, right, set()) for left, right in zip(one, other, strict=True)]


def loop(view: NodeView, analyse: AnalyseBody) -> list[RowValue]:
    """Loop: carried values by fixed point; outputs of each iteration get a new first axis."""
    _require_shared(view, 0, "trip count")
    _require_shared(view, 1, "condition")
    body = _body(view, "body")
    carried = [_without_contents(view.input(index)) for index in range(2, len(view.inputs))]
    carried, outputs = _fixed_point(
        carried, lambda values: analyse(body, [shared(()), shared(()), *values]), condition=True
    )
    trips = unknown_size()
    return [*carried, *(_stacked(value, 0, trips) for value in outputs[1 + len(carried) :])]


def scan(view: NodeView, analyse: AnalyseBody) -> list[RowValue]:
    """Scan: state by fixed point; slices along axes that do not hold the rows."""
    if view.version < 9:
        raise NotProven("it is of an operator set before 9")
    body = _body(view, "body")
    num_scanned = int_attribute(view.node, "num_scan_inputs", 0)
    num_states = len(view.inputs) - num_scanned
    axes = ints_attribute(view.node, "scan_input_axes") or (0,) * num_scanned
    slices = [_slice(view, num_states + number, axis) for number, axis in enumerate(axes)]
    states = [_without_contents(view.input(index)) for index in range(num_states)]
    states, outputs = _fixed_point(states, lambda values: analyse(body, [*values, *slices]), condition=False)
    scanned = outputs[num_states:]
    out_axes = ints_attribute(view.node, "scan_output_axes") or (0,) * len(scanned)
    trips = unknown_size()
    return [
        *states,
        *(_stacked(value, axis, trips) for value, axis in zip(scanned, out_axes, strict=True)),
    ]


SUBGRAPH_RULES: Mapping[str, Callable[[NodeView, AnalyseBody], list[RowValue]]] = {
    "If": conditional,
    "Loop": loop,
    "Scan": scan,
}
"""Rules of the operators with bodies. Source: https://onnx.ai/onnx/operators/onnx__Loop.html and those of If and Scan."""


def _body(view: NodeView, name: str) -> ir.Graph:
    attribute = view.node.attributes.get(name)
    if attribute is None:
        raise NotProven(f"it has no {name}")
    return attribute.as_graph()


def _require_shared(view: NodeView, index: int, what: str) -> None:
    if not view.has(index):
        return
    state = view.input(index).state
    if isinstance(state, Rows):
        raise RowsMeet(f"has a {what} that depends on rows")
    if not isinstance(state, Shared):
        raise RowsMeet(f"has a {what} that depends on the number of rows")


def _fixed_point(
    carried: list[RowValue], run: Callable[[Sequence[RowValue]], list[RowValue]], *, condition: bool
) -> tuple[list[RowValue], list[RowValue]]:
    """Returns the states of carried values that hold in every iteration, and all outputs of the body."""
    skip = 1 if condition else 0
    widened: set[Dim] = set()
    for _ in range(_MAX_PASSES):
        outputs = run(carried)
        if condition and not isinstance(outputs[0].state, Shared):
            mixed = outputs[0].state
            if isinstance(mixed, Mixed):
                raise RowsMeet(f"goes on by a condition in which {mixed.reason}")
            raise RowsMeet("goes on by a condition that depends on rows")
        after = [
            _joined(before, value, widened)
            for before, value in zip(carried, outputs[skip : skip + len(carried)], strict=True)
        ]
        if after == carried:
            return carried, outputs
        carried = after
    raise NotProven("the shapes of its carried values do not become stable")


def _joined(one: RowValue, other: RowValue, widened: set[Dim]) -> RowValue:
    """Returns what holds for a value that is one of two."""
    for value in (one, other):
        if isinstance(value.state, Mixed):
            return value
    if type(one.state) is not type(other.state) or (isinstance(one.state, Rows) and one.state != other.state):
        if {type(one.state), type(other.state)} == {Shared, RowCount}:
            return RowValue(RowCount())
        raise NotProven("a value has rows in one case and none, or others, in the other")
    if one.shape is None or other.shape is None or len(one.shape) != len(other.shape):
        if isinstance(one.state, Rows):
            raise NotProven("a value with rows has several ranks")
        return RowValue(one.state)
    dims: list[Dim] = []
    for left, right in zip(one.shape, other.shape, strict=True):
        if left == right or left in widened:
            dims.append(left)
        else:
            counts = any(isinstance(dim, Size) and dim.counts_rows for dim in (left, right))
            dims.append(unknown_size(counts_rows=counts))
            widened.add(dims[-1])
    return RowValue(one.state, tuple(dims))


def _without_contents(value: RowValue) -> RowValue:
    return RowValue(value.state, value.shape)


def _slice(view: NodeView, index: int, axis: int) -> RowValue:
    value, shape = view.input(index), view.shape(index)
    axis = view.axis(axis, len(shape))
    rest = (*shape[:axis], *shape[axis + 1 :])
    if not isinstance(value.state, Rows):
        return RowValue(value.state, rest)
    if value.state.axis == axis:
        raise RowsMeet(f"scans axis {axis}, which holds the rows")
    moved = value.state.axis - (value.state.axis > axis)
    return RowValue(Rows(moved, value.state.outer, value.state.inner), rest)


def _stacked(value: RowValue, axis: int, trips: Dim) -> RowValue:
    """Returns the values of all iterations, stacked along a new axis."""
    if value.shape is None:
        return RowValue(value.state)
    rank = len(value.shape) + 1
    axis = axis + rank if axis < 0 else axis
    shape = (*value.shape[:axis], trips, *value.shape[axis:])
    if not isinstance(value.state, Rows):
        return RowValue(value.state, shape)
    moved = value.state.axis + (value.state.axis >= axis)
    return RowValue(Rows(moved, value.state.outer, value.state.inner), shape)

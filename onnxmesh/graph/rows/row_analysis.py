"""Abstract interpretation of a graph: how each value depends on the rows of the model's inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes

from onnxmesh.graph.reading.loaded_tensor import load_tensor
from onnxmesh.graph.reading.node_order import topological_order, value_name
from onnxmesh.graph.rows.node_view import NodeView, NotProven, RowsMeet
from onnxmesh.graph.rows.row_state import (
    ROW_COUNT,
    SHARED,
    Mixed,
    RowCount,
    Rows,
    RowState,
    RowValue,
    as_contents,
)
from onnxmesh.graph.rows.rules.operators import OPERATORS, RANDOM
from onnxmesh.graph.rows.shape_arithmetic import MAX_ELEMENTS, known_contents
from onnxmesh.graph.rows.sizes import counts_rows
from onnxmesh.graph.rows.subgraphs import SUBGRAPH_RULES

_MAX_FLOATS = 16
"""Floats are read where they can be scales of axes, not where they are weights."""
_INDEX_TYPES = frozenset({ir.DataType.INT32, ir.DataType.INT64, ir.DataType.BOOL})
_FLOAT_TYPES = frozenset({ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16})
_NODES_PER_CHECK = 64
_STANDARD = "ai.onnx"


class AnalysisTimeout(Exception):
    """The analysis ran out of time."""


def analyse_rows(
    model: ir.Model,
    inputs: Mapping[str, RowValue],
    expired: Callable[[], bool] = lambda: False,
) -> dict[str, RowValue]:
    """Returns what is known about each value of a graph, by name.

    Args:
        model: The model; functions are inlined and nodes are sorted in place.
        inputs: What is known about its inputs.
        expired: Whether the time is up; it is called at intervals.

    Raises:
        AnalysisTimeout: The time was up.
        InvalidModel: The graph has a cycle (INVALID_ARGUMENT).
    """
    if model.functions:
        passes.InlinePass()(model)
    topological_order(model)
    analysis = _Analysis(dict(model.opset_imports), expired)
    analysis.read_initializers(model.graph)
    for value in model.graph.inputs:
        known = inputs.get(value_name(value))
        if known is not None:
            analysis.values[value] = known
    analysis.run(model.graph)
    return {value_name(value): known for value, known in analysis.values.items()}


class _Analysis:
    """State of one analysis: what is known about each value so far, bodies included."""

    def __init__(self, versions: Mapping[str, int], expired: Callable[[], bool]) -> None:
        self.values: dict[ir.Value, RowValue] = {}
        self._versions = versions
        self._expired = expired
        self._num_nodes = 0

    def read_initializers(self, graph: ir.Graph) -> None:
        for value in graph.initializers.values():
            self.values[value] = _constant(value.const_value)

    def run(self, graph: ir.Graph) -> None:
        for node in graph:
            self._num_nodes += 1
            if self._num_nodes % _NODES_PER_CHECK == 0 and self._expired():
                raise AnalysisTimeout
            for value, known in zip(node.outputs, self._outputs(node), strict=False):
                self.values[value] = known

    def _body(self, graph: ir.Graph, inputs: Sequence[RowValue]) -> list[RowValue]:
        self.read_initializers(graph)
        for value, known in zip(graph.inputs, inputs, strict=True):
            self.values[value] = known
        self.run(graph)
        return [self.values.get(value, RowValue(SHARED)) for value in graph.outputs]

    def _outputs(self, node: ir.Node) -> list[RowValue]:
        if node.op_type == "Constant" and node.domain in {"", _STANDARD}:
            return [_constant_node(node)]
        inputs = [
            None if value is None or not value.name else self.values.get(value) or _unread(value)
            for value in node.inputs
        ]
        states = [value.state for value in inputs if value is not None]
        mixed = next((state for state in states if isinstance(state, Mixed)), None)
        if mixed is not None:
            return [RowValue(mixed)] * len(node.outputs)
        domain = "" if node.domain == _STANDARD else node.domain
        view = NodeView(node, inputs, self._versions.get(node.domain, self._versions.get(domain, 1)))
        contents = known_contents(view)
        if contents is not None:
            state: RowState = (
                ROW_COUNT if any(counts_rows(each) for each in contents.reshape(-1).tolist()) else SHARED
            )
            return [RowValue(state, contents.shape, contents)]
        return self._by_rule(view, domain, states)

    def _by_rule(self, view: NodeView, domain: str, states: Sequence[RowState]) -> list[RowValue]:
        node = view.node
        subgraph_rule = SUBGRAPH_RULES.get(node.op_type) if not domain else None
        entry = OPERATORS.get((domain, node.op_type))
        without_rows = not any(isinstance(state, Rows) for state in states) and subgraph_rule is None
        if entry is None and subgraph_rule is None and (domain or not without_rows):
            name = f"{domain}.{node.op_type}" if domain else node.op_type
            return self._refused(node, f"there is no rule for the operator {name}: {_described(node)}")
        try:
            if subgraph_rule is not None:
                return subgraph_rule(view, self._body)
            if entry is not None:
                return entry.rule(view)
        except RowsMeet as error:
            reason = f"rows meet in {_described(node)}{_consumer(node)}: it {error}"
        except NotProven as error:
            reason = f"rows are not proven to be independent in {_described(node)}{_consumer(node)}: {error}"
        except (ArithmeticError, IndexError, TypeError, ValueError) as error:
            reason = f"rows are not proven to be independent in {_described(node)}{_consumer(node)}: {error}"
        else:
            reason = ""
        # Dropout is refused in training mode only: it is random then.
        if without_rows and node.op_type not in RANDOM | {"Dropout"}:
            counted = any(isinstance(state, RowCount) for state in states)
            return [RowValue(ROW_COUNT if counted else SHARED)] * len(node.outputs)
        return self._refused(node, reason)

    def _refused(self, node: ir.Node, reason: str) -> list[RowValue]:
        return [RowValue(Mixed(reason, value_name(node.outputs[0])))] * len(node.outputs)


def _unread(value: ir.Value) -> RowValue:
    """Returns what is known about a value that was not analysed: an initialiser, else an input without rows."""
    return _constant(value.const_value) if value.const_value is not None else RowValue(SHARED)


def _constant(tensor: ir.TensorProtocol | None) -> RowValue:
    if tensor is None:
        return RowValue(SHARED)
    shape = tuple(int(dim) for dim in tensor.shape.numpy())
    num = math.prod(shape)
    if (tensor.dtype in _INDEX_TYPES and num <= MAX_ELEMENTS) or (
        tensor.dtype in _FLOAT_TYPES and num <= _MAX_FLOATS
    ):
        return RowValue(SHARED, shape, as_contents(load_tensor(tensor).numpy()))
    return RowValue(SHARED, shape)


def _constant_node(node: ir.Node) -> RowValue:
    for name, attribute in node.attributes.items():
        if name == "value":
            return _constant(attribute.as_tensor())
        if name in {"value_int", "value_ints", "value_float", "value_floats"}:
            contents = as_contents(attribute.value)
            return RowValue(SHARED, contents.shape, contents)
    return RowValue(SHARED)


def _described(node: ir.Node) -> str:
    return f"{node.op_type} '{node.name or value_name(node.outputs[0])}'"


def _consumer(node: ir.Node) -> str:
    for value in node.outputs:
        for user, _ in value.uses():
            return f" (its output feeds {_described(user)})"
    return ""

"""Analysis of a graph: the costs that the planner needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.costs.boundaries import boundaries_of
from onnxmesh.graph.costs.node_cost import CostModel, weight_bytes
from onnxmesh.graph.costs.working_memory import working_bytes
from onnxmesh.graph.reading.node_order import (
    NodeOrder,
    OrderedNode,
    load_graph,
    topological_order,
    value_name,
)
from onnxmesh.graph.reading.value_types import ValueType, infer_shapes_at, infer_types
from onnxmesh.model.graph_costs import GraphCosts, InputUse, NodeCost
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.datatype import Datatype


def analyse_graph(
    optimised: Path,
    shapes: InputShapes | None = None,
    types: Mapping[str, ValueType] | None = None,
    measured_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> GraphCosts:
    """Estimates the costs of a graph from its shapes: of its nodes, of each possible boundary, and its signature.

    Args:
        optimised: The model that is cut: the output of `optimise` or `save_original_model`.
        shapes: Sizes of free dimensions; None: 1.
        types: Result of `boundary_types` for the same file; None: inferred here.
        measured_shapes: Shapes that values had in a run at these shapes, by name: shapes that depend on data are
            known from a run only.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model (INVALID_ARGUMENT).
        InvalidRequest: A shape is for no input, or contradicts the model or another shape (INVALID_ARGUMENT).
    """
    order = topological_order(load_graph(optimised))
    types = boundary_types(optimised) if types is None else types
    signature = signature_of(order, types)
    at, sizes = resolve_input_shapes(signature, types, shapes or InputShapes())
    costs = CostModel(
        types,
        sizes,
        infer_shapes_at(optimised, _names(order) + _constants(order), at) | at | dict(measured_shapes or {}),
    )
    numbers = {
        weight: number
        for number, weight in enumerate(
            dict.fromkeys(weight for node in order.nodes for weight in node.weights)
        )
    }
    nodes = tuple(
        _node_cost(node, working, costs, numbers)
        for node, working in zip(order.nodes, working_bytes(order, costs), strict=True)
    )
    return GraphCosts(
        nodes,
        boundaries_of(order, types, costs.num_bytes),
        tuple(weight_bytes(weight) for weight in numbers),
        _input_uses(order, costs),
        signature,
    )


def resolve_input_shapes(
    signature: Signature, types: Mapping[str, ValueType], shapes: InputShapes
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Returns the shape of each input and the size of each symbolic dimension, by name.

    Raises:
        InvalidRequest: A shape is for no input, or contradicts the model or another shape (INVALID_ARGUMENT).
    """
    symbols = {spec.name: types[spec.name].dims or () for spec in signature.inputs}
    return shapes.of(signature.inputs, symbols), shapes.symbol_sizes(signature.inputs, symbols)


def boundary_types(optimised: Path) -> dict[str, ValueType]:
    """Returns type and shape of every value that may cross a cut of the model, by name.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model (INVALID_ARGUMENT).
    """
    return infer_types(optimised, _names(topological_order(load_graph(optimised))))


def _names(order: NodeOrder) -> list[str]:
    """Returns the names of all values that may cross a cut, except the model's inputs."""
    inputs = frozenset(order.inputs)
    return [value_name(value) for value in [*order.defined_at, *order.outputs] if value not in inputs]


def _constants(order: NodeOrder) -> list[str]:
    """Returns the names of the outputs of constant nodes that other nodes read: dequantised weights, mostly."""
    read = dict.fromkeys(value for node in order.nodes for value in node.node.inputs if value is not None)
    return [value_name(value) for value in read if value in order.constants and not value.is_initializer()]


def spec_of(value: ir.Value, types: Mapping[str, ValueType]) -> TensorSpec:
    """Returns the spec of a value: name, datatype and shape.

    Raises:
        InvalidModel: The value cannot be sent (INVALID_ARGUMENT).
    """
    name = value_name(value)
    known = types.get(name)
    if known is None or known.datatype is None:
        kind = "unknown type" if known is None else known.runtime_type
        raise InvalidModel(f"value '{name}' of {kind} cannot be sent")
    return TensorSpec(name, known.datatype.value, known.shape)


def signature_of(order: NodeOrder, types: Mapping[str, ValueType]) -> Signature:
    """Returns the specs of the model's inputs and outputs.

    Raises:
        InvalidModel: An input or output cannot be sent, or not by the Open Inference Protocol (INVALID_ARGUMENT).
    """
    signature = Signature(
        inputs=tuple(spec_of(value, types) for value in order.inputs),
        outputs=tuple(spec_of(value, types) for value in order.outputs),
    )
    for spec in signature.outputs:
        # Types that the model declares were checked before; these are inferred.
        if not Datatype(spec.datatype).in_protocol:
            raise InvalidModel(
                f"output '{spec.name}' has element type {spec.datatype}, which the Open Inference Protocol cannot carry"
            )
    return signature


def _node_cost(
    node: OrderedNode, working: int, costs: CostModel, numbers: Mapping[ir.Value, int]
) -> NodeCost:
    domain = node.node.domain
    operator = node.node.op_type if domain in {"", "ai.onnx"} else f"{domain}.{node.node.op_type}"
    return NodeCost(
        name=node.node.name or value_name(node.writes[0]),
        op_type=operator,
        flops=costs.flops(node),
        bytes_moved=costs.bytes_moved(node),
        weights=tuple(numbers[weight] for weight in node.weights),
        working_bytes=working,
    )


def _input_uses(order: NodeOrder, costs: CostModel) -> tuple[InputUse, ...]:
    readers: dict[ir.Value, list[int]] = {value: [] for value in order.inputs}
    for position, node in enumerate(order.nodes):
        for value in node.reads:
            if value in readers:
                readers[value].append(position)
    for value in order.outputs:
        if value in readers and readers[value][-1:] != [len(order.nodes)]:
            readers[value].append(len(order.nodes))
    return tuple(
        InputUse(value_name(value), costs.num_bytes(value), tuple(positions))
        for value, positions in readers.items()
    )

"""Which of a model's inputs are indices into a table of its own, and how long the table is."""

from __future__ import annotations

import onnx_ir as ir

from onnxmesh.graph.reading.attributes import int_attribute, operand
from onnxmesh.graph.reading.node_order import NodeOrder, value_name

_HAND_ON = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
"""Operators whose output has the numbers of their first input."""

_TABLES = {
    "Gather": ((1, 0),),
    "GatherBlockQuantized": ((1, 0),),
    "EmbedLayerNormalization": ((0, 2), (1, 4)),
}
"""Where an operator takes indices, and where the table that they go into."""


def index_bounds(order: NodeOrder) -> dict[str, int]:
    """Returns, for each input that picks rows of a weight, the number that its elements must stay below.

    The smallest of all tables that it picks from. Inputs that pick from nothing known are not in it.
    """
    bounds: dict[str, int] = {}
    origin: dict[ir.Value, str] = {value: value_name(value) for value in order.inputs}
    for entry in order.nodes:
        node = entry.node
        if node.op_type in _HAND_ON and (first := operand(node, 0)) in origin:
            origin[node.outputs[0]] = origin[first]
        for indices_at, table_at in _TABLES.get(node.op_type, ()):
            indices, table = operand(node, indices_at), operand(node, table_at)
            if indices not in origin or table is None or table.const_value is None:
                continue
            shape = [int(dim) for dim in table.const_value.shape.numpy()]
            axis = int_attribute(node, "axis", 0) if node.op_type == "Gather" else 0
            if -len(shape) <= axis < len(shape) and shape[axis] > 0:
                name = origin[indices]
                bounds[name] = min(bounds.get(name, shape[axis]), shape[axis])
    return bounds

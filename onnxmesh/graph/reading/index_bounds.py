"""Inputs of a model that are indices into its weights, and the exclusive upper bound of each."""

from __future__ import annotations

import onnx_ir as ir

from onnxmesh.graph.reading.attributes import int_attribute, operand
from onnxmesh.graph.reading.node_order import NodeOrder, value_name

_PASS_THROUGH = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
"""Operators whose output has the same elements as their first input."""

_TABLES = {
    "Gather": ((1, 0),),
    "GatherBlockQuantized": ((1, 0),),
    "EmbedLayerNormalization": ((0, 2), (1, 4)),
}
"""By operator: (position of the indices, position of the table that they select from)."""


def index_bounds(order: NodeOrder) -> dict[str, int]:
    """Returns the exclusive upper bound of the elements of each input that selects rows of a weight, by name.

    It is the size of the smallest table that the input selects from. Inputs that select from no weight are absent.
    """
    bounds: dict[str, int] = {}
    origin: dict[ir.Value, str] = {value: value_name(value) for value in order.inputs}
    for entry in order.nodes:
        node = entry.node
        if node.op_type in _PASS_THROUGH and (first := operand(node, 0)) in origin:
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

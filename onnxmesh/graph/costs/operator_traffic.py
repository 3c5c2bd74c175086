"""Bytes that each operator moves between memory and the device, from the shapes around it."""

from __future__ import annotations

import onnx_ir as ir

from onnxmesh.graph.costs.kernel_scratch import unfolded_bytes
from onnxmesh.graph.costs.value_sizes import ValueSizes

_ALIASES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Their output is their input under another shape; nothing is copied."""
_LOOK_AT_SHAPES = frozenset({"Shape", "Size"})
_PICK = frozenset(
    {
        "Gather",
        "GatherElements",
        "GatherND",
        "GatherBlockQuantized",
        "Slice",
        "EmbedLayerNormalization",
    }
)
"""They read of their inputs as much as they write, however large the table is."""


def bytes_moved(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the bytes that one node reads and writes, weights included, subgraphs not counted."""
    read = sum(sizes.num_bytes(value) for value in dict.fromkeys(node.inputs) if value is not None)
    written = sum(sizes.num_bytes(value) for value in node.outputs if value.name)
    if node.op_type in _ALIASES:
        return 0
    if node.op_type in _LOOK_AT_SHAPES:
        return written
    if node.op_type in _PICK:
        where = [value for value in node.inputs[1:] if value is not None and not value.is_initializer()]
        return min(read, written + sum(map(sizes.num_bytes, where))) + written
    # What is unfolded is written and read once more.
    return read + written + 2 * unfolded_bytes(sizes, node)

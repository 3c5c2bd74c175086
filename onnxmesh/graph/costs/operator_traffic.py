"""Bytes that each operator moves between memory and processor, from shapes."""

from __future__ import annotations

import onnx_ir as ir

from onnxmesh.graph.costs.kernel_scratch import im2col_bytes
from onnxmesh.graph.costs.value_sizes import ValueSizes

_ALIASES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Operators whose output is a view of their input; nothing is copied."""
_READ_SHAPES_ONLY = frozenset({"Shape", "Size"})
_GATHERS = frozenset(
    {
        "Gather",
        "GatherElements",
        "GatherND",
        "GatherBlockQuantized",
        "Slice",
        "EmbedLayerNormalization",
    }
)
"""Operators that read as much of their first input as they write, however large it is."""


def bytes_moved(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the bytes that one node reads and writes, weights included, subgraphs not counted."""
    read = sum(sizes.num_bytes(value) for value in dict.fromkeys(node.inputs) if value is not None)
    written = sum(sizes.num_bytes(value) for value in node.outputs if value.name)
    if node.op_type in _ALIASES:
        return 0
    if node.op_type in _READ_SHAPES_ONLY:
        return written
    if node.op_type in _GATHERS:
        indices = [value for value in node.inputs[1:] if value is not None and not value.is_initializer()]
        return min(read, written + sum(map(sizes.num_bytes, indices))) + written
    # The im2col matrix is written and read once.
    return read + written + 2 * im2col_bytes(sizes, node)

"""Sizes of the values of a graph at one shape of its inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from onnxmesh.graph.reading.node_order import value_name
from onnxmesh.graph.reading.value_types import ValueType

Shape = tuple[int, ...] | None
"""Dimensions with a size for every symbol, or None where the rank is unknown."""

_STRING_BYTES = 16
"""Assumed size of a string on the wire: its length field and a word."""


class ValueSizes:
    """Shapes, element counts and bytes of values. Dimensions of unknown size count as one.

    Args:
        types: Types of the values of the graph, by name.
        dims: Sizes of symbolic dimensions, by symbol.
        shapes: Known shapes of values, by name; they take precedence over types.
    """

    def __init__(
        self,
        types: Mapping[str, ValueType],
        dims: Mapping[str, int] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self._types = types
        self._dims = dims or {}
        self._shapes = shapes or {}

    def shape(self, value: ir.Value | None) -> Shape:
        """Returns the shape of a value, with sizes for its symbols."""
        if value is None:
            return None
        if value.const_value is not None:
            return tuple(int(dim) for dim in value.const_value.shape.numpy())
        if (shape := self._shapes.get(value_name(value))) is not None:
            return shape
        known = self._types.get(value_name(value))
        if known is None or known.dims is None:
            return None
        return tuple(
            dim if isinstance(dim, int) else self._dims.get(dim, 1) if isinstance(dim, str) else 1
            for dim in known.dims
        )

    def num_elements(self, value: ir.Value | None) -> int:
        """Returns the number of elements of a value; 1 if its rank is unknown."""
        return math.prod(self.shape(value) or ())

    def num_bytes(self, value: ir.Value) -> int:
        """Returns the size of a value in bytes; 4 for each element where its type is unknown."""
        if value.is_initializer() and value.const_value is not None:
            return weight_bytes(value)
        known = self._types.get(value_name(value))
        datatype = None if known is None else known.datatype
        if datatype is None:
            return 4 * self.num_elements(value)
        size = datatype.byte_size(self.num_elements(value))
        return _STRING_BYTES * self.num_elements(value) if size is None else size


def weight_bytes(value: ir.Value) -> int:
    """Returns the stored size of an initialiser in bytes; a string counts its length field and its characters."""
    tensor = value.const_value
    if tensor is None:
        return 0
    if tensor.dtype == ir.DataType.STRING:
        return sum(4 + len(element) for element in tensor.numpy().reshape(-1).tolist())
    return int(tensor.nbytes)

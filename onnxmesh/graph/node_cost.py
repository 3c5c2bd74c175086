"""What a node costs, estimated from the shapes around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxmesh.graph.row import RowNode, name_of
from onnxmesh.graph.value_types import ValueType

Shape = tuple[int, ...] | None
"""Dimensions with a figure for every symbol, or None where even the rank is unknown."""

_STRING_BYTES = 16
"""What a string is taken to occupy on the wire: its length field and a word."""


class CostModel:
    """Estimates operations and bytes of the nodes of one graph.

    Convolutions, matrix products, recurrent cells and attention are counted from their shapes, ONNX
    Runtime's fused variants as what they were fused from; anything else as one operation for each
    element that it reads or writes. Dimensions without a figure count as one.

    Args:
        types: Types of the values of the graph.
        dims: Figures for symbolic dimensions, by symbol.
        shapes: Shapes of those values for which more is known than their type says.
    """

    def __init__(
        self,
        types: Mapping[str, ValueType],
        dims: Mapping[str, int] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        self._types = types
        self._shapes = shapes or {}
        self._dims = dict(dims or {})

    def shape(self, value: ir.Value | None) -> Shape:
        """Returns the shape of a value, with symbols replaced."""
        if value is None:
            return None
        if value.is_initializer() and value.const_value is not None:
            return tuple(int(dim) for dim in value.const_value.shape.numpy())
        if (shape := self._shapes.get(name_of(value))) is not None:
            return shape
        known = self._types.get(name_of(value))
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
        """Returns the size of a value; 4 bytes an element where its type is unknown."""
        if value.is_initializer() and value.const_value is not None:
            return weight_bytes(value)
        known = self._types.get(name_of(value))
        datatype = None if known is None else known.datatype
        if datatype is None:
            return 4 * self.num_elements(value)
        size = datatype.byte_size(self.num_elements(value))
        return _STRING_BYTES * self.num_elements(value) if size is None else size

    def flops(self, node: RowNode) -> int:
        """Returns the estimated operations of a node, a multiply-add counted as two."""
        return self._flops(node.node) or 1

    def bytes_moved(self, node: RowNode) -> int:
        """Returns the bytes that a node reads and writes, weights included."""
        return sum(self.num_bytes(value) for value in (*node.reads, *node.writes, *node.weights))

    def _flops(self, node: ir.Node) -> int:
        counted = _COUNTERS.get(node.op_type)
        if counted is not None:
            found = counted(self, node)
            if found is not None:
                return found
        inner = sum(
            self._flops(child)
            for attribute in node.attributes.values()
            for graph in _graphs(attribute)
            for child in graph
        )
        elements = sum(
            self.num_elements(value) for value in [*node.inputs, *node.outputs] if value is not None
        )
        return elements + inner


def weight_bytes(value: ir.Value) -> int:
    """Returns the size of an initialiser as stored; strings count what they hold."""
    tensor = value.const_value
    if tensor is None:
        return 0
    if tensor.dtype == ir.DataType.STRING:
        return sum(4 + len(element) for element in tensor.numpy().reshape(-1).tolist())
    return int(tensor.nbytes)


def _graphs(attribute: ir.Attr) -> list[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.as_graph()]
    if attribute.type == ir.AttributeType.GRAPHS:
        return list(attribute.as_graphs())
    return []


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _integer(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None or attribute.type != ir.AttributeType.INT else attribute.as_int()


def _convolution(weight_at: int) -> Callable[[CostModel, ir.Node], int | None]:
    def count(model: CostModel, node: ir.Node) -> int | None:
        weight = model.shape(_input(node, weight_at))
        if not weight or not weight[0]:
            return None
        return 2 * model.num_elements(node.outputs[0]) * (math.prod(weight) // weight[0])

    return count


def _transposed_convolution(model: CostModel, node: ir.Node) -> int | None:
    weight = model.shape(_input(node, 1))
    if not weight or not weight[0]:
        return None
    return 2 * model.num_elements(_input(node, 0)) * (math.prod(weight) // weight[0])


def _product(node: ir.Node, left: Shape, outputs: int) -> int | None:
    if not left:
        return None
    axis = -2 if _integer(node, "transA", 0) and len(left) > 1 else -1
    return 2 * outputs * left[axis]


def _matrix_product(model: CostModel, node: ir.Node) -> int | None:
    return _product(node, model.shape(_input(node, 0)), model.num_elements(node.outputs[0]))


def _packed_product(model: CostModel, node: ir.Node) -> int | None:
    return 2 * model.num_elements(node.outputs[0]) * _integer(node, "K", 1)


def _recurrent(model: CostModel, node: ir.Node) -> int | None:
    sequence = model.shape(_input(node, 0))
    if not sequence or len(sequence) < 3:
        return None
    weights = model.num_elements(_input(node, 1)) + model.num_elements(_input(node, 2))
    return 2 * sequence[0] * sequence[1] * weights


def _attention(model: CostModel, node: ir.Node) -> int | None:
    """Both products of query, key and value; com.microsoft.Attention also projects its input."""
    query = model.shape(_input(node, 0))
    if not query or len(query) < 3:
        return None
    batch, length, hidden = query[0], query[-2], math.prod(query[1:]) // query[-2] if query[-2] else 0
    keys = model.shape(_input(node, 1))
    projected = 0
    key_length = length
    if node.op_type in {"Attention", "QAttention"} and node.domain == "com.microsoft":
        projected = 2 * batch * length * model.num_elements(_input(node, 1))
    elif keys and len(keys) >= 3:
        key_length = keys[-2]
    return projected + 4 * batch * length * key_length * hidden


_COUNTERS: dict[str, Callable[[CostModel, ir.Node], int | None]] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "NhwcConv": _convolution(1),
    "NhwcFusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "MatMul": _matrix_product,
    "FusedMatMul": _matrix_product,
    "TransposeMatMul": _matrix_product,
    "MatMulInteger": _matrix_product,
    "MatMulIntegerToFloat": _matrix_product,
    "DynamicQuantizeMatMul": _matrix_product,
    "QLinearMatMul": _matrix_product,
    "Gemm": _matrix_product,
    "FusedGemm": _matrix_product,
    "QGemm": _matrix_product,
    "MatMulNBits": _packed_product,
    "MatMulBnb4": _packed_product,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _attention,
    "GroupQueryAttention": _attention,
    "DecoderMaskedMultiHeadAttention": _attention,
}

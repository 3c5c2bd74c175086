"""Arithmetic operations of each operator, from shapes.

ONNX Runtime's fused and quantised variants count like the operators that they replace. Transcendental functions count
the operations of their polynomials, so that a device's arithmetic throughput applies to them too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx_ir as ir

from onnxmesh.graph.costs.value_sizes import Shape, ValueSizes
from onnxmesh.graph.reading.attributes import int_attribute, ints_attribute, operand, string_attribute

Counter = Callable[[ValueSizes, ir.Node], int | None]
"""Returns the operations of a node, or None where its shapes are unknown."""


def flops_of(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the operations of one node without its subgraphs; a multiply-add counts as two.

    Operators without a counter count one operation for each element that they read or write.
    """
    counter = _COUNTERS.get(node.op_type)
    found = None if counter is None else counter(sizes, node)
    if found is not None:
        return found
    return sum(sizes.num_elements(value) for value in [*node.inputs, *node.outputs] if value is not None)


def _nothing(_sizes: ValueSizes, _node: ir.Node) -> int:
    return 0


def _per_output(operations: int) -> Counter:
    return lambda sizes, node: operations * sizes.num_elements(node.outputs[0])


def _per_input(operations: int) -> Counter:
    return lambda sizes, node: operations * sizes.num_elements(operand(node, 0))


def _convolution(weight_at: int) -> Counter:
    def count(sizes: ValueSizes, node: ir.Node) -> int | None:
        weight = sizes.shape(operand(node, weight_at))
        if not weight or not weight[0]:
            return None
        return 2 * sizes.num_elements(node.outputs[0]) * (math.prod(weight) // weight[0])

    return count


def _transposed_convolution(sizes: ValueSizes, node: ir.Node) -> int | None:
    weight = sizes.shape(operand(node, 1))
    if not weight or not weight[0]:
        return None
    return 2 * sizes.num_elements(operand(node, 0)) * (math.prod(weight) // weight[0])


def _pooling(sizes: ValueSizes, node: ir.Node) -> int:
    return sizes.num_elements(node.outputs[0]) * math.prod(ints_attribute(node, "kernel_shape"))


def _matrix_product(sizes: ValueSizes, node: ir.Node) -> int | None:
    left = sizes.shape(operand(node, 0))
    if not left:
        return None
    axis = -2 if int_attribute(node, "transA", 0) and len(left) > 1 else -1
    return 2 * sizes.num_elements(node.outputs[0]) * left[axis]


def _packed_product(sizes: ValueSizes, node: ir.Node) -> int:
    return 2 * sizes.num_elements(node.outputs[0]) * int_attribute(node, "K", 1)


def _einsum(sizes: ValueSizes, node: ir.Node) -> int | None:
    terms = string_attribute(node, "equation").replace(" ", "").partition("->")[0].split(",")
    sizes_of_letters: dict[str, int] = {}
    for term, value in zip(terms, node.inputs, strict=False):
        shape = sizes.shape(value)
        if shape is None or len(shape) != len(term) or "." in term:
            return None
        sizes_of_letters.update(zip(term, shape, strict=True))
    return max(1, len(terms)) * math.prod(sizes_of_letters.values())


def _recurrent(sizes: ValueSizes, node: ir.Node) -> int | None:
    sequence = sizes.shape(operand(node, 0))
    if not sequence or len(sequence) < 3:
        return None
    weights = sizes.num_elements(operand(node, 1)) + sizes.num_elements(operand(node, 2))
    return 2 * sequence[0] * sequence[1] * weights


def _attention(sizes: ValueSizes, node: ir.Node) -> int | None:
    """Counts both products of query, key and value; com.microsoft.Attention also projects its input."""
    query = sizes.shape(operand(node, 0))
    if not query or len(query) < 3 or not query[-2]:
        return None
    projected = 0
    if _projects(node):
        projected = 2 * query[0] * query[-2] * sizes.num_elements(operand(node, 1))
    scores = num_scores(sizes, node)
    width = head_size(sizes, node)
    return None if scores is None or width is None else projected + 4 * scores * width


def _projects(node: ir.Node) -> bool:
    return node.op_type in {"Attention", "QAttention"} and node.domain == "com.microsoft"


def num_scores(sizes: ValueSizes, node: ir.Node) -> int | None:
    """Returns the number of query-key pairs that an attention operator scores, over all heads.

    None where its shapes are unknown.
    """
    query = sizes.shape(operand(node, 0))
    if not query or len(query) < 3:
        return None
    length = query[1] if len(query) == 5 else query[-2]
    heads = query[1] if len(query) == 4 else _num_heads(node)
    return query[0] * heads * length * _key_length(sizes, node, length)


def _num_heads(node: ir.Node) -> int:
    return max(1, int_attribute(node, "num_heads", int_attribute(node, "q_num_heads", 1)))


def _key_length(sizes: ValueSizes, node: ir.Node, length: int) -> int:
    keys = None if _projects(node) else sizes.shape(operand(node, 1))
    own = length
    if keys and len(keys) >= 3:
        own = keys[1] if len(keys) == 5 else keys[-2]
    return own + _past_length(sizes.shape(operand(node, _PAST_KEY.get(node.op_type, 99))))


def _past_length(past: Shape) -> int:
    return past[-2] if past and len(past) >= 4 else 0


def head_size(sizes: ValueSizes, node: ir.Node) -> int | None:
    """Returns the width of one head of an attention operator; None where its shapes are unknown."""
    query = sizes.shape(operand(node, 0))
    if not query:
        return None
    if len(query) >= 4:
        return query[-1]
    heads = _num_heads(node)
    if node.op_type == "GroupQueryAttention" and operand(node, 1) is None:
        return query[-1] // (heads + 2 * int_attribute(node, "kv_num_heads", heads))
    if _projects(node):
        hidden = sizes.shape(node.outputs[0])
        return hidden[-1] // heads if hidden else None
    return query[-1] // heads


_PAST_KEY = {"GroupQueryAttention": 3, "MultiHeadAttention": 6, "Attention": 4}
"""By attention operator: position of the keys of earlier tokens (KV cache)."""

_ERF, _EXP, _TANH, _POWER = 24, 16, 20, 32
"""Operations for one element of a transcendental function, as a polynomial in vector registers."""

_COUNTERS: dict[str, Counter] = {
    "Conv": _convolution(1),
    "FusedConv": _convolution(1),
    "NhwcConv": _convolution(1),
    "NhwcFusedConv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "ConvTranspose": _transposed_convolution,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "LpPool": _pooling,
    "QLinearAveragePool": _pooling,
    "GlobalAveragePool": _per_input(1),
    "GlobalMaxPool": _per_input(1),
    "QLinearGlobalAveragePool": _per_input(1),
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
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
    "Attention": _attention,
    "QAttention": _attention,
    "MultiHeadAttention": _attention,
    "GroupQueryAttention": _attention,
    "DecoderMaskedMultiHeadAttention": _attention,
    "LayerNormalization": _per_input(8),
    "SimplifiedLayerNormalization": _per_input(6),
    "RMSNormalization": _per_input(6),
    "SkipLayerNormalization": _per_input(10),
    "SkipSimplifiedLayerNormalization": _per_input(8),
    "EmbedLayerNormalization": _per_output(10),
    "InstanceNormalization": _per_input(8),
    "GroupNormalization": _per_input(8),
    "BatchNormalization": _per_input(2),
    "Softmax": _per_input(_EXP + 4),
    "LogSoftmax": _per_input(_EXP + 4),
    "BiasSoftmax": _per_input(_EXP + 5),
    "Exp": _per_input(_EXP),
    "Log": _per_input(_EXP),
    "Sigmoid": _per_input(_EXP),
    "Softplus": _per_input(2 * _EXP),
    "Mish": _per_input(3 * _EXP),
    "Swish": _per_input(_EXP),
    "QuickGelu": _per_input(_EXP),
    "Elu": _per_input(_EXP),
    "Selu": _per_input(_EXP),
    "Celu": _per_input(_EXP),
    "Tanh": _per_input(_TANH),
    "Sin": _per_input(_TANH),
    "Cos": _per_input(_TANH),
    "RotaryEmbedding": _per_input(3),
    "Erf": _per_input(_ERF),
    "Gelu": _per_input(_ERF + 4),
    "BiasGelu": _per_input(_ERF + 5),
    "FastGelu": _per_input(_TANH + 6),
    "Pow": _per_output(_POWER),
    "Sqrt": _per_input(4),
} | dict.fromkeys(
    (
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceSumSquare",
        "ReduceL2",
        "ArgMax",
        "ArgMin",
    ),
    _per_input(1),
)
_COUNTERS |= dict.fromkeys(
    (
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Flatten",
        "Identity",
        "Shape",
        "Size",
        "Transpose",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "ScatterElements",
        "ScatterND",
        "Expand",
        "Tile",
        "Pad",
        "DepthToSpace",
        "SpaceToDepth",
        "ReorderInput",
        "ReorderOutput",
    ),
    _nothing,
)
"""Operators that move elements without arithmetic."""

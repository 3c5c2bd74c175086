"""Scratch memory of kernels in addition to inputs and outputs, estimated from shapes.

Source: onnxruntime/core/mlas/lib/convolve.cpp and onnxruntime/contrib_ops/cpu/bert. Scratch memory on other devices is
the choice of their libraries and not estimated.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from onnxmesh.graph.costs.operator_flops import num_scores
from onnxmesh.graph.costs.value_sizes import ValueSizes
from onnxmesh.graph.reading.attributes import int_attribute, ints_attribute, operand

_CONVOLUTIONS = {"Conv": (1, 4), "FusedConv": (1, 4), "ConvInteger": (1, 1), "QLinearConv": (3, 1)}
"""By operator: (position of the weight, bytes of an im2col element)."""
_SEGMENT_BYTES = 1 << 18
"""Size of MLAS's im2col segment, used where the output plane has more elements than there are filters."""
_ATTENTION = frozenset(
    {
        "Attention",
        "QAttention",
        "MultiHeadAttention",
        "GroupQueryAttention",
        "DecoderMaskedMultiHeadAttention",
    }
)
_RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1, "DynamicQuantizeLSTM": 4}
"""Number of gates; their input products are computed for the whole sequence first."""
_QUANTISES_ITS_INPUT = frozenset({"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})


def scratch_bytes(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the scratch memory of one node's kernel in bytes; 0 for operators without an estimate."""
    if node.op_type in _CONVOLUTIONS and node.domain != "com.microsoft.nchwc":
        return _im2col_scratch(sizes, node)
    if node.op_type == "ConvTranspose":
        return _col2im_scratch(sizes, node)
    if node.op_type in _ATTENTION:
        return 4 * (num_scores(sizes, node) or 0) + 3 * 4 * sizes.num_elements(operand(node, 0))
    if node.op_type in _RECURRENT:
        sequence = sizes.shape(operand(node, 0)) or (1,)
        recurrence = sizes.shape(operand(node, 2)) or (1,)
        hidden = recurrence[-1] * recurrence[0]
        return 4 * _RECURRENT[node.op_type] * math.prod(sequence[:2]) * hidden
    if node.op_type in _QUANTISES_ITS_INPUT:
        return sizes.num_elements(operand(node, 0))
    return 0


def im2col_bytes(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the bytes of a convolution's im2col matrix: a column for each output element, all groups together.

    0 for a pointwise convolution, which needs no im2col, and for other operators.
    """
    if node.op_type not in _CONVOLUTIONS or node.domain == "com.microsoft.nchwc":
        return 0
    at, element_bytes = _CONVOLUTIONS[node.op_type]
    weight, output = sizes.shape(operand(node, at)), sizes.shape(node.outputs[0])
    if not weight or not output or len(output) < 3 or len(weight) < 3:
        return 0
    strides = ints_attribute(node, "strides")
    if math.prod(weight[2:]) == 1 and set(strides) <= {1} and not any(ints_attribute(node, "pads")):
        return 0
    columns = output[0] * math.prod(output[2:])
    return element_bytes * int_attribute(node, "group", 1) * math.prod(weight[1:]) * columns


def _im2col_scratch(sizes: ValueSizes, node: ir.Node) -> int:
    """Returns the im2col bytes in use at once: of one image and group, limited to a segment where it is large."""
    whole, output = im2col_bytes(sizes, node), sizes.shape(node.outputs[0])
    if not whole or not output:
        return 0
    at, element_bytes = _CONVOLUTIONS[node.op_type]
    weight = sizes.shape(operand(node, at)) or (1,)
    groups = int_attribute(node, "group", 1)
    one = whole // (max(1, output[0]) * groups)
    return (
        one if weight[0] // groups > math.prod(output[2:]) or element_bytes == 1 else min(one, _SEGMENT_BYTES)
    )


def _col2im_scratch(sizes: ValueSizes, node: ir.Node) -> int:
    weight, image = sizes.shape(operand(node, 1)), sizes.shape(operand(node, 0))
    if not weight or not image or len(image) < 3:
        return 0
    return 4 * math.prod(weight[1:]) * math.prod(image[2:])

"""Operations of operators, computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, model, node, value

MICROSOFT = {"": 20, "com.microsoft": 1}


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def first(tmp_path, nodes, inputs, outputs, weights=None, **options) -> NodeCost:
    """The costs of the first node of a graph."""
    return costs_of(tmp_path, model(nodes, inputs, outputs, weights, MICROSOFT), **options).nodes[0]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


FLOPS = {
    "Gemm with a transposed left side": (
        [node("Gemm", ["x", "w"], ["y"], transA=1)],
        [floats("x", 5, 2)],
        [floats("y", 2, 3)],
        {"w": zeros(5, 3)},
        2 * 2 * 3 * 5,
    ),
    "ConvTranspose: each input element meets each filter": (
        [node("ConvTranspose", ["x", "w"], ["y"])],
        [floats("x", 1, 2, 4, 4)],
        [floats("y", 1, 3, 6, 6)],
        {"w": zeros(2, 3, 3, 3)},
        2 * (2 * 4 * 4) * (3 * 3 * 3),
    ),
    "pooling reads its window for each output": (
        [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
        [floats("x", 1, 2, 4, 4)],
        [floats("y", 1, 2, 2, 2)],
        {},
        (2 * 2 * 2) * 4,
    ),
    "a reduction reads each element once": (
        [node("ReduceSum", ["x"], ["y"], keepdims=0)],
        [floats("x", 3, 4)],
        [floats("y")],
        {},
        12,
    ),
    "Einsum multiplies and adds over all its labels": (
        [node("Einsum", ["x", "w"], ["y"], equation="bij, jk -> bik")],
        [floats("x", 2, 3, 4)],
        [floats("y", 2, 3, 5)],
        {"w": zeros(4, 5)},
        2 * 2 * 3 * 4 * 5,
    ),
    "LSTM: four gates from input and state, each step": (
        [node("LSTM", ["x", "w", "r"], ["", "y"], hidden_size=4)],
        [floats("x", 7, 2, 3)],
        [floats("y", 1, 2, 4)],
        {"w": zeros(1, 16, 3), "r": zeros(1, 16, 4)},
        2 * 7 * 2 * 16 * (3 + 4),
    ),
    "attention: scores and mixture over past and present keys": (
        [node("MultiHeadAttention", ["x", "k", "v"], ["y"], num_heads=2, domain="com.microsoft")],
        [floats("x", 1, 3, 8), floats("k", 1, 5, 8), floats("v", 1, 5, 8)],
        [floats("y", 1, 3, 8)],
        {},
        4 * (2 * 3 * 5) * 4,
    ),
    "dense weights of four bits": (
        [
            node(
                "MatMulNBits",
                ["x", "w", "s"],
                ["y"],
                K=32,
                N=6,
                bits=4,
                block_size=32,
                domain="com.microsoft",
            )
        ],
        [floats("x", 2, 32)],
        [floats("y", 2, 6)],
        {"w": zeros(6, 1, 16, dtype=np.uint8), "s": zeros(6)},
        2 * 2 * 6 * 32,
    ),
    "a dynamically quantised product": (
        [node("DynamicQuantizeMatMul", ["x", "w", "s"], ["y"], domain="com.microsoft")],
        [floats("x", 2, 5)],
        [floats("y", 2, 3)],
        {"w": zeros(5, 3, dtype=np.uint8), "s": np.float32(0.1)},
        2 * 2 * 3 * 5,
    ),
}


@pytest.mark.parametrize("name", FLOPS)
def test_flops_follow_from_shapes(tmp_path, name):
    """A multiply-add is two."""
    nodes, inputs, outputs, weights, expected = FLOPS[name]
    assert first(tmp_path, nodes, inputs, outputs, weights).flops == expected


def test_flops_of_attention_count_cached_keys(tmp_path):
    """GroupQueryAttention of 1 token after 10: 4 heads x 11 keys x 16 wide, twice 2 operations."""
    heads, kept, width = 4, 10, 16
    attention = node(
        "GroupQueryAttention",
        ["q", "k", "v", "past_k", "past_v", "lengths", "total"],
        ["y", "present_k", "present_v"],
        num_heads=heads,
        kv_num_heads=2,
        domain="com.microsoft",
    )
    past = [1, 2, kept, width]
    inputs = [
        floats("q", 1, 1, heads * width),
        floats("k", 1, 1, 2 * width),
        floats("v", 1, 1, 2 * width),
        floats("past_k", *past),
        floats("past_v", *past),
        value("lengths", TensorProto.INT32, [1]),
        value("total", TensorProto.INT32, [1]),
    ]
    outputs = [
        floats("y", 1, 1, heads * width),
        floats("present_k", 1, 2, "T", width),
        floats("present_v", 1, 2, "T", width),
    ]
    assert first(tmp_path, [attention], inputs, outputs).flops == 4 * heads * (kept + 1) * width

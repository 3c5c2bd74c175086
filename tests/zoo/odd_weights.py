"""Graphs whose weights are stored in unusual ways: sparse, quantised, smaller than a byte, as defaults."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.zoo.zoo_model import ZooModel, floats, model, node, normal, random_floats


def sparse_weights() -> onnx.ModelProto:
    """A sparse initialiser with flat indices, and one with an index for each dimension."""
    nodes = [
        node("MatMul", ["x", "flat"], ["a"]),
        node("Tanh", ["a"], ["b"]),
        node("MatMul", ["b", "grid"], ["c"]),
        node("Neg", ["c"], ["y"]),
    ]
    made = model(nodes, [floats("x", "N", 4)], [floats("y", "N", 4)])
    values = [1.5, -2.0, 3.0]
    made.graph.sparse_initializer.extend(
        helper.make_sparse_tensor(
            helper.make_tensor(name, TensorProto.FLOAT, [3], values),
            helper.make_tensor(f"{name}_at", TensorProto.INT64, shape, places),
            [4, 4],
        )
        for name, shape, places in [("flat", [3], [0, 5, 10]), ("grid", [3, 2], [0, 1, 2, 3, 3, 0])]
    )
    return made


def quantised() -> onnx.ModelProto:
    """QDQ as quantisers write it, 4-bit weights, and int4 and float8 activations over the cuts."""
    rng = np.random.default_rng(9)
    weights = {
        "w": rng.integers(-100, 100, (32, 32)).astype(np.int8),
        "w_scale": np.float32(0.01),
        "w_zero": np.int8(0),
        "x_scale": np.float32(0.05),
        "x_zero": np.uint8(128),
        "packed": rng.integers(0, 256, (16, 1, 16)).astype(np.uint8),
        "scales": rng.random(16).astype(np.float32),
        "step": np.float32(0.25),
    }
    nodes = [
        node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["q0"]),
        node("DequantizeLinear", ["q0", "x_scale", "x_zero"], ["d0"]),
        node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["dw"]),
        node("MatMul", ["d0", "dw"], ["m0"]),
        node("QuantizeLinear", ["m0", "x_scale", "x_zero"], ["q1"]),
        node("DequantizeLinear", ["q1", "x_scale", "x_zero"], ["d1"]),
        node("MatMulNBits", ["d1", "packed", "scales"], ["m1"], domain="com.microsoft", K=32, N=16, bits=4, block_size=32),
        node("QuantizeLinear", ["m1", "step"], ["q2"], output_dtype=TensorProto.INT4),
        node("DequantizeLinear", ["q2", "step"], ["d2"]),
        node("Cast", ["d2"], ["e0"], to=TensorProto.FLOAT8E4M3FN),
        node("Cast", ["e0"], ["y"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    opsets = {"": 21, "com.microsoft": 1}
    return model(nodes, [floats("x", "N", 32)], [floats("y", "N", 16)], weights, opsets=opsets)


def default_inputs() -> onnx.ModelProto:
    """Weights listed as inputs, as old exporters do, and a weight that lives in a subgraph."""
    rng = np.random.default_rng(10)
    inner = normal(rng, 4, 4)
    then_graph = helper.make_graph(
        [node("MatMul", ["normed", "inner"], ["then_out"])],
        "then",
        [],
        [floats("then_out", "N", 4)],
        [onnx.numpy_helper.from_array(inner, "inner")],
    )
    else_graph = helper.make_graph(
        [node("Mul", ["normed", "w_row"], ["else_out"])], "else", [], [floats("else_out", "N", 4)]
    )
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("BatchNormalization", ["a", "ones", "ones", "ones", "ones"], ["normed"]),
        node("ReduceMax", ["normed"], ["largest"], keepdims=0),
        node("Greater", ["largest", "limit"], ["over"]),
        node("If", ["over"], ["branched"], then_branch=then_graph, else_branch=else_graph),
        node("Neg", ["branched"], ["y"]),
    ]
    weights = {
        "w": normal(rng, 4, 4),
        "ones": np.ones(4, np.float32),
        "limit": np.float32(0.5),
        "w_row": np.arange(4, dtype=np.float32),
    }
    inputs = [floats("x", "N", 4), floats("w", 4, 4), floats("ones", 4)]
    return model(nodes, inputs, [floats("y", "N", 4)], weights)


def shared_layers() -> onnx.ModelProto:
    """The same layer six times over, as in ALBERT: each stage needs all of it."""
    rng = np.random.default_rng(13)
    weights = {"w": normal(rng, 16, 16), "b": normal(rng, 16), "gamma": np.ones(16, np.float32)}
    nodes, last = [], "x"
    for layer in range(6):
        nodes += [
            node("MatMul", [last, "w"], [f"m{layer}"]),
            node("Add", [f"m{layer}", "b"], [f"a{layer}"]),
            node("LayerNormalization", [f"a{layer}", "gamma"], [f"n{layer}"]),
        ]
        last = f"n{layer}"
    nodes.append(node("Tanh", [last], ["y"]))
    return model(nodes, [floats("x", "N", 16)], [floats("y", "N", 16)], weights)


def weights_beside() -> onnx.ModelProto:
    """Weights in two files, one of them in a folder, at odd offsets; a small one and one that is listed as an input."""
    rng = np.random.default_rng(14)
    weights = {f"w{layer}": normal(rng, 24, 24) for layer in range(4)} | {"half": np.array(0.5, np.float32)}
    nodes, last = [], "x"
    for layer in range(4):
        nodes += [
            node("MatMul", [last, f"w{layer}"], [f"m{layer}"]),
            node("Mul", [f"m{layer}", "half"], [f"h{layer}"]),
            node("Tanh", [f"h{layer}"], [f"t{layer}"]),
        ]
        last = f"t{layer}"
    nodes.append(node("Neg", [last], ["y"]))
    return model(nodes, [floats("x", "N", 24), floats("w2", 24, 24)], [floats("y", "N", 24)], weights)


ODD_WEIGHTS = (
    ZooModel("shared_layers", shared_layers, random_floats("x", 16)),
    ZooModel("weights_beside", weights_beside, random_floats("x", 24), beside=("a.bin", "more/b.bin")),
    ZooModel("sparse_weights", sparse_weights, random_floats("x", 4)),
    ZooModel("quantised", quantised, random_floats("x", 32)),
    ZooModel("default_inputs", default_inputs, random_floats("x", 4)),
)

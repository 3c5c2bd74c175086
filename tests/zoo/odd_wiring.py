"""Graphs whose inputs and outputs are wired in unusual ways."""

from __future__ import annotations

import numpy as np
import onnx

from tests.zoo.zoo_model import ZooModel, floats, model, node, normal, random_floats


def identity() -> onnx.ModelProto:
    """Gives what it takes."""
    return model([node("Identity", ["x"], ["y"])], [floats("x", "N", 8)], [floats("y", "N", 8)])


def only_passes() -> onnx.ModelProto:
    """No node at all: its output is its input."""
    return model([], [floats("x", "N", 8)], [floats("x", "N", 8)])


def pass_through() -> onnx.ModelProto:
    """Outputs that are an input, a constant, a value used again later, and a late one."""
    nodes = [
        node("Tanh", ["x"], ["early"]),
        node("Sigmoid", ["early"], ["middle"]),
        node("Abs", ["middle"], ["late"]),
        node("Add", ["late", "early"], ["y"]),
    ]
    outputs = [floats("x", "N", 4), floats("fixed", 3), floats("early", "N", 4), floats("y", "N", 4)]
    weights = {"fixed": np.arange(3, dtype=np.float32)}
    return model(nodes, [floats("x", "N", 4), floats("unused", "M")], outputs, weights)


def late_input() -> onnx.ModelProto:
    """An input that only the last nodes read, and one that all do."""
    rng = np.random.default_rng(7)
    weights = {f"w{i}": normal(rng, 6, 6) for i in range(4)}
    nodes, last = [], "x"
    for i in range(4):
        nodes.append(node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(node("Add", [f"m{i}", "always"], [f"a{i}"]))
        last = f"a{i}"
    nodes.append(node("Mul", [last, "late"], ["y"]))
    inputs = [floats("x", "N", 6), floats("late", "N", 6), floats("always", 6)]
    return model(nodes, inputs, [floats("y", "N", 6)], weights)


def constant_cones() -> onnx.ModelProto:
    """Nodes that depend on no input: to be computed in every stage that needs them, never to be sent."""
    rng = np.random.default_rng(8)
    weights = {"w": normal(rng, 5, 5), "shape": np.array([5]), "scale": np.array(0.25, np.float32)}
    nodes = [
        node("Transpose", ["w"], ["w_t"], perm=[1, 0]),
        node("Mul", ["w_t", "scale"], ["w_scaled"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("MatMul", ["x", "w_scaled"], ["a"]),
        node("Add", ["a", "zeros"], ["b"]),
        node("MatMul", ["b", "w"], ["c"]),
        node("Tanh", ["c"], ["d"]),
        node("MatMul", ["d", "w_scaled"], ["y"]),
        node("Neg", ["x"], ["dead"]),
    ]
    return model(nodes, [floats("x", "N", 5)], [floats("y", "N", 5), floats("w_scaled", 5, 5)], weights)


def agreeing_dims() -> onnx.ModelProto:
    """Three inputs whose free dimensions must agree, each read by a later stage than the one before."""
    rng = np.random.default_rng(12)
    nodes = [
        node("Tanh", ["left"], ["a"]),
        node("MatMul", ["a", "right"], ["product"]),
        node("Sigmoid", ["product"], ["b"]),
        node("Add", ["b", "added"], ["sum"]),
        node("ReduceMax", ["sum"], ["largest"], keepdims=0),
        node("Sub", ["sum", "largest"], ["c"]),
        node("Exp", ["c"], ["d"]),
        node("MatMul", ["d", "right_again"], ["y"]),
        node("Transpose", ["right"], ["turned"], perm=[1, 0]),
        node("Mul", ["turned", "scale"], ["right_again"]),
    ]
    nodes = [*nodes[:7], *nodes[8:], nodes[7]]
    inputs = [floats("left", "N", "T"), floats("right", "T", "M"), floats("added", "N", "M")]
    return model(nodes, inputs, [floats("y", "N", "T")], {"scale": normal(rng, 1)})


def _three(seed: int, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (batch, 6), "late": (batch, 6), "always": (6,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _agreeing(seed: int, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = {"left": (batch, 4), "right": (4, 5), "added": (batch, 5)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def _with_unused(seed: int, batch: int) -> dict[str, np.ndarray]:
    return random_floats("x", 4)(seed, batch) | {"unused": np.zeros(2, np.float32)}


ODD_WIRING = (
    ZooModel("identity", identity, random_floats("x", 8), max_stages=1),
    ZooModel("only_passes", only_passes, random_floats("x", 8), max_stages=1),
    ZooModel("pass_through", pass_through, _with_unused),
    ZooModel("late_input", late_input, _three),
    ZooModel("agreeing_dims", agreeing_dims, _agreeing),
    ZooModel("constant_cones", constant_cones, random_floats("x", 5)),
)

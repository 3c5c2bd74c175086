"""Quantised networks as tools write them: QDQ around convolutions, and the QLinear operators of before."""

from __future__ import annotations

import numpy as np
import onnx

from tests.zoo.zoo_model import ZooModel, floats, model, node, normal, random_floats


def qdq_cnn() -> onnx.ModelProto:
    """A CNN with a skip: quantised activations, weights by channel, biases of 32 bits."""
    rng = np.random.default_rng(21)
    weights: dict[str, np.ndarray] = {
        "scale": np.float32(0.04),
        "zero": np.uint8(128),
        "floor": np.uint8(0),
        "dense": normal(rng, 6, 4),
        "axes": np.array([2, 3]),
    }
    nodes: list[onnx.NodeProto] = []
    last = _qdq(nodes, "image", "image")
    stem = ""
    for layer, channels in enumerate([3, 6, 6]):
        weights |= {
            f"w{layer}": rng.integers(-127, 128, (6, channels, 3, 3)).astype(np.int8),
            f"w{layer}_scale": rng.uniform(0.001, 0.003, 6).astype(np.float32),
            f"w{layer}_zero": np.zeros(6, np.int8),
            f"b{layer}": rng.integers(-500, 500, 6).astype(np.int32),
            f"b{layer}_zero": np.zeros(6, np.int32),
        }
        weights[f"b{layer}_scale"] = weights["scale"] * weights[f"w{layer}_scale"]
        for part in (f"w{layer}", f"b{layer}"):
            taken = [part, f"{part}_scale", f"{part}_zero"]
            nodes.append(node("DequantizeLinear", taken, [f"{part}_wide"], axis=0))
        taken = [last, f"w{layer}_wide", f"b{layer}_wide"]
        nodes.append(node("Conv", taken, [f"conv{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        last = _qdq(nodes, f"relu{layer}", f"act{layer}", "floor")
        stem = stem or last
    nodes.append(node("Add", [last, stem], ["skip"]))
    last = _qdq(nodes, "skip", "joined")
    nodes.append(node("ReduceMean", [last, "axes"], ["pooled"], keepdims=0))
    nodes.append(node("MatMul", ["pooled", "dense"], ["y"]))
    return model(nodes, [floats("image", "N", 3, 8, 8)], [floats("y", "N", 4)], weights)


def qlinear() -> onnx.ModelProto:
    """QLinearConv and QLinearMatMul, as static quantisation wrote them before QDQ: bytes cross every cut."""
    rng = np.random.default_rng(22)
    weights: dict[str, np.ndarray] = {
        "scale": np.float32(0.05),
        "zero": np.uint8(128),
        "w_scale": np.float32(0.01),
        "w_zero": np.int8(0),
        "rows": np.array([0, -1]),
    }
    nodes = [node("QuantizeLinear", ["x", "scale", "zero"], ["q0"])]
    for layer, channels in enumerate([2, 4]):
        weights[f"w{layer}"] = rng.integers(-60, 60, (4, channels, 3, 3)).astype(np.int8)
        weights[f"b{layer}"] = rng.integers(-500, 500, 4).astype(np.int32)
        taken = [f"q{layer}", "scale", "zero", f"w{layer}", "w_scale", "w_zero", "scale", "zero", f"b{layer}"]
        nodes.append(node("QLinearConv", taken, [f"q{layer + 1}"], pads=[1, 1, 1, 1]))
    weights["w2"] = rng.integers(-60, 60, (100, 8)).astype(np.int8)
    taken = ["row", "scale", "zero", "w2", "w_scale", "w_zero", "scale", "zero"]
    nodes += [
        node("Reshape", ["q2", "rows"], ["row"]),
        node("QLinearMatMul", taken, ["q3"]),
        node("DequantizeLinear", ["q3", "scale", "zero"], ["wide"]),
        node("Softmax", ["wide"], ["y"], axis=-1),
    ]
    return model(nodes, [floats("x", "N", 2, 5, 5)], [floats("y", "N", 8)], weights)


def _qdq(nodes: list[onnx.NodeProto], taken: str, name: str, zero: str = "zero") -> str:
    nodes.append(node("QuantizeLinear", [taken, "scale", zero], [f"{name}_q"]))
    nodes.append(node("DequantizeLinear", [f"{name}_q", "scale", zero], [f"{name}_dq"]))
    return f"{name}_dq"


QUANTISED_NETWORKS = (
    ZooModel("qdq_cnn", qdq_cnn, random_floats("image", 3, 8, 8)),
    ZooModel("qlinear", qlinear, random_floats("x", 2, 5, 5)),
)

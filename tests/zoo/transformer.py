"""A transformer encoder as exporters write it: twelve layers whose norms, scales and activations ONNX Runtime fuses."""

from __future__ import annotations

import numpy as np
import onnx

from tests.zoo.zoo_model import ZooModel, floats, integers, model, node, normal

_OPSET = 17
"""The first that has LayerNormalization; Gelu is written out, as exporters of its time do."""
LAYERS, LENGTH, HIDDEN, HEADS = 12, 128, 256, 8


def encoder() -> onnx.ModelProto:
    """Embedded tokens and a mask through twelve layers of attention and feed-forward, as in BERT."""
    rng = np.random.default_rng(11)
    size = HIDDEN // HEADS
    weights: dict[str, np.ndarray] = {
        "heads": np.array([0, 0, HEADS, size]),
        "joined": np.array([0, 0, HIDDEN]),
        "scale": np.array(np.sqrt(size), np.float32),
        "root2": np.array(np.sqrt(2), np.float32),
        "half": np.array(0.5, np.float32),
        "one": np.array(1, np.float32),
        "far": np.array(-10_000, np.float32),
        "axis1": np.array([1]),
        "axis2": np.array([2]),
    }
    nodes = [
        node("Unsqueeze", ["mask", "axis1"], ["mask3"]),
        node("Unsqueeze", ["mask3", "axis2"], ["mask4"]),
        node("Cast", ["mask4"], ["mask_float"], to=onnx.TensorProto.FLOAT),
        node("Sub", ["one", "mask_float"], ["masked"]),
        node("Mul", ["masked", "far"], ["bias"]),
    ]
    # As in BERT, what enters the first layer is normed.
    last = _norm(nodes, weights, "embedded_norm", "embedded")
    for layer in range(LAYERS):
        p = f"layer{layer}."
        for part in "qkv":
            made = _dense(nodes, weights, rng, f"{p}{part}", last, HIDDEN, HIDDEN)
            nodes.append(node("Reshape", [made, "heads"], [f"{p}{part}_heads"]))
            perm = [0, 2, 3, 1] if part == "k" else [0, 2, 1, 3]
            nodes.append(node("Transpose", [f"{p}{part}_heads"], [f"{p}{part}_turned"], perm=perm))
        nodes += [
            node("MatMul", [f"{p}q_turned", f"{p}k_turned"], [f"{p}scores"]),
            node("Div", [f"{p}scores", "scale"], [f"{p}scaled"]),
            node("Add", [f"{p}scaled", "bias"], [f"{p}biased"]),
            node("Softmax", [f"{p}biased"], [f"{p}weights"], axis=3),
            node("MatMul", [f"{p}weights", f"{p}v_turned"], [f"{p}context"]),
            node("Transpose", [f"{p}context"], [f"{p}context_turned"], perm=[0, 2, 1, 3]),
            node("Reshape", [f"{p}context_turned", "joined"], [f"{p}context_joined"]),
        ]
        out = _dense(nodes, weights, rng, f"{p}out", f"{p}context_joined", HIDDEN, HIDDEN)
        nodes.append(node("Add", [out, last], [f"{p}attended"]))
        last = _norm(nodes, weights, f"{p}attended_norm", f"{p}attended")
        up = _dense(nodes, weights, rng, f"{p}up", last, HIDDEN, 4 * HIDDEN)
        nodes += [
            node("Div", [up, "root2"], [f"{p}up_scaled"]),
            node("Erf", [f"{p}up_scaled"], [f"{p}up_erf"]),
            node("Add", [f"{p}up_erf", "one"], [f"{p}up_shifted"]),
            node("Mul", [up, f"{p}up_shifted"], [f"{p}up_gated"]),
            node("Mul", [f"{p}up_gated", "half"], [f"{p}up_act"]),
        ]
        down = _dense(nodes, weights, rng, f"{p}down", f"{p}up_act", 4 * HIDDEN, HIDDEN)
        nodes.append(node("Add", [down, last], [f"{p}fed"]))
        last = _norm(nodes, weights, f"{p}fed_norm", f"{p}fed")
    nodes.append(node("Identity", [last], ["y"]))
    inputs = [floats("embedded", "N", LENGTH, HIDDEN), integers("mask", "N", LENGTH)]
    return model(nodes, inputs, [floats("y", "N", LENGTH, HIDDEN)], weights, {"": _OPSET})


def _dense(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    rng: np.random.Generator,
    name: str,
    taken: str,
    wide: int,
    narrow: int,
) -> str:
    weights[f"{name}.weight"] = normal(rng, wide, narrow)
    weights[f"{name}.bias"] = (0.1 * rng.standard_normal(narrow)).astype(np.float32)
    nodes.append(node("MatMul", [taken, f"{name}.weight"], [f"{name}_product"], name=f"{name}.product"))
    nodes.append(node("Add", [f"{name}_product", f"{name}.bias"], [name], name=f"{name}.add"))
    return name


def _norm(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], name: str, taken: str) -> str:
    weights[f"{name}.gamma"] = np.ones(HIDDEN, np.float32)
    weights[f"{name}.beta"] = np.zeros(HIDDEN, np.float32)
    nodes.append(node("LayerNormalization", [taken, f"{name}.gamma", f"{name}.beta"], [name], axis=-1))
    return name


def _inputs(seed: int, batch: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (np.arange(LENGTH) < rng.integers(LENGTH // 2, LENGTH + 1, (batch, 1))).astype(np.int64)
    return {"embedded": rng.standard_normal((batch, LENGTH, HIDDEN)).astype(np.float32), "mask": mask}


TRANSFORMERS = (ZooModel("encoder", encoder, _inputs, everywhere=False),)

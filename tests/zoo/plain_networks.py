"""Networks as they are trained: an MLP, a CNN with skips, tied embeddings, residual networks, a real model."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import numpy as np
import onnx
from onnx import numpy_helper

from tests.zoo.zoo_model import ZooModel, floats, integers, model, node, normal, random_floats


def mlp() -> onnx.ModelProto:
    """Five dense layers."""
    rng = np.random.default_rng(1)
    sizes = [32, 64, 48, 64, 32, 10]
    nodes, weights, last = [], {}, "x"
    for layer, (wide, narrow) in enumerate(pairwise(sizes)):
        weights[f"w{layer}"], weights[f"b{layer}"] = normal(rng, wide, narrow), normal(rng, narrow)
        nodes.append(node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"dense{layer}"]))
        last = f"dense{layer}"
        if layer < 4:
            nodes.append(node("Tanh", [last], [f"act{layer}"]))
            last = f"act{layer}"
    nodes.append(node("Softmax", [last], ["probabilities"], axis=-1))
    return model(nodes, [floats("x", "N", 32)], [floats("probabilities", "N", 10)], weights)


def branching_cnn() -> onnx.ModelProto:
    """Three branches, a concatenation and long skips: several tensors over nearly every boundary."""
    rng = np.random.default_rng(2)
    weights = {f"w{i}": normal(rng, *shape) for i, shape in enumerate([(8, 3, 3, 3)] + [(8, 8, 3, 3)] * 4)}
    weights |= {"mix": normal(rng, 8, 24, 1, 1), "dense": normal(rng, 8, 5), "axes": np.array([2, 3])}
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", ["image", "w0"], ["stem"], **same),
        node("Relu", ["stem"], ["stem_act"]),
        node("Conv", ["stem_act", "w1"], ["left"], **same),
        node("Relu", ["left"], ["left_act"]),
        node("Conv", ["stem_act", "w2"], ["right"], **same),
        node("Sigmoid", ["right"], ["right_act"]),
        node("Conv", ["left_act", "w3"], ["deep"], **same),
        node("Add", ["deep", "stem_act"], ["deep_skip"]),
        node("Concat", ["left_act", "right_act", "deep_skip"], ["all"], axis=1),
        node("Conv", ["all", "mix"], ["mixed"]),
        node("Add", ["mixed", "stem"], ["long_skip"]),
        node("Conv", ["long_skip", "w4"], ["late"], **same),
        node("Mul", ["late", "right_act"], ["gated"]),
        node("ReduceMean", ["gated", "axes"], ["pooled"], keepdims=0),
        node("MatMul", ["pooled", "dense"], ["scores"]),
    ]
    outputs = [floats("scores", "N", 5), floats("left_act", "N", 8, "H", "W")]
    return model(nodes, [floats("image", "N", 3, "H", "W")], outputs, weights)


def tied_weights() -> onnx.ModelProto:
    """A language model in small: one table embeds the tokens at the start and scores them at the end."""
    rng = np.random.default_rng(3)
    weights = {
        "table": normal(rng, 50, 16),
        "gamma": np.ones(16, np.float32),
        "w0": normal(rng, 16, 32),
        "w1": normal(rng, 32, 16),
    }
    nodes = [
        node("Gather", ["table", "tokens"], ["embedded"]),
        node("LayerNormalization", ["embedded", "gamma"], ["normed"]),
        node("MatMul", ["normed", "w0"], ["up"]),
        node("Tanh", ["up"], ["up_act"]),
        node("MatMul", ["up_act", "w1"], ["down"]),
        node("Add", ["down", "embedded"], ["residual"]),
        node("LayerNormalization", ["residual", "gamma"], ["out_normed"]),
        node("Transpose", ["table"], ["table_t"], perm=[1, 0]),
        node("MatMul", ["out_normed", "table_t"], ["logits"]),
    ]
    return model(nodes, [integers("tokens", "N", "L")], [floats("logits", "N", "L", 50)], weights)


def resnet50() -> onnx.ModelProto:
    """The light ResNet-50 of the onnx wheel, its constant weights replaced by random ones, as initialisers."""
    light = files("onnx").joinpath("backend/test/data/light/light_resnet50.onnx")
    source = onnx.load_from_string(light.read_bytes())
    graph = source.graph
    rng = np.random.default_rng(50)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # Small scales where branches join keep the sums of sixteen blocks from saturating the softmax.
    kinds = {"_s_0": (0.4, 0.02), "_b_0": (0.0, 0.05), "_rm_0": (0.0, 0.05), "_riv_0": (1.0, 0.01)}
    filled, nodes = [], []
    for made in graph.node:
        if made.op_type != "ConstantOfShape":
            nodes.append(made)
            continue
        shape = tuple(int(dim) for dim in shapes[made.input[0]])
        name = made.output[0]
        mean, spread = next((kinds[kind] for kind in kinds if name.endswith(kind)), (0.0, 0.0))
        if len(shape) > 1:
            array = normal(rng, *shape) * np.float32(1.4)
        else:
            array = (mean + spread * rng.standard_normal(shape)).astype(np.float32)
        filled.append(numpy_helper.from_array(array, name))
    kept = [tensor for tensor in graph.initializer if not tensor.name.endswith("__SHAPE")]
    data = [tensor for tensor in graph.input if tensor.name not in shapes]
    del graph.node[:], graph.initializer[:], graph.input[:]
    graph.node.extend(nodes)
    graph.initializer.extend(filled + kept)
    graph.input.extend(data)
    source.ir_version = 4
    return source


def magika() -> onnx.ModelProto:
    """The trained file-type model that the magika wheel ships."""
    return onnx.load_from_string(files("magika").joinpath("models/standard_v3_3/model.onnx").read_bytes())


def _tokens(seed: int, batch: int) -> dict[str, np.ndarray]:
    return {"tokens": np.random.default_rng(seed).integers(0, 50, (batch, 7))}


def _image(seed: int, batch: int) -> dict[str, np.ndarray]:  # its batch is fixed at 1
    rng = np.random.default_rng(seed)
    return {"gpu_0/data_0": rng.standard_normal((1, 3, 224, 224)).astype(np.float32)}


def _file_bytes(seed: int, batch: int) -> dict[str, np.ndarray]:
    return {"bytes": np.random.default_rng(seed).integers(0, 257, (batch, 2048)).astype(np.int32)}


PLAIN_NETWORKS = (
    ZooModel("mlp", mlp, random_floats("x", 32)),
    ZooModel("branching_cnn", branching_cnn, random_floats("image", 3, 12, 10)),
    ZooModel("tied_weights", tied_weights, _tokens),
    ZooModel("resnet50", resnet50, _image, everywhere=False),
    ZooModel("magika", magika, _file_bytes, everywhere=False),
)

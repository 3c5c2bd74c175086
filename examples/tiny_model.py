"""Writes a small classifier with random weights: `python -m examples.tiny_model tiny.onnx [SEED]`."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZES = (4, 64, 64, 3)
"""Width of each layer: input `x` is FP32 [N, 4], output `probabilities` FP32 [N, 3]."""


def tiny_model(seed: int = 0) -> onnx.ModelProto:
    random = np.random.default_rng(seed)
    weights, nodes, last = [], [], "x"
    for layer, (wide, narrow) in enumerate(pairwise(SIZES)):
        matrix = (random.standard_normal((wide, narrow)) / np.sqrt(wide)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{layer}"], [f"dense{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"dense{layer}"], [f"act{layer}"]))
        last = f"act{layer}"
    nodes[-1] = helper.make_node("Softmax", [nodes[-1].input[0]], ["probabilities"], axis=-1)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", SIZES[0]])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", SIZES[-1]])]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "tiny.onnx")
    onnx.save(tiny_model(int(sys.argv[2]) if len(sys.argv) > 2 else 0), path)
    print(f"wrote {path}")

"""The models that are measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.zoo import ZOO


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model, and the one input that every request carries."""

    name: str
    build: Callable[[Path], Path]
    input_name: str
    shape: tuple[int, ...]

    def input(self) -> NDArray[np.float32]:
        """Returns the input, the same in every process."""
        return np.random.default_rng(0).standard_normal(self.shape).astype(np.float32)


def _save(
    folder: Path, name: str, nodes: list[onnx.NodeProto], width: int, weights: list[onnx.TensorProto]
) -> Path:
    floats = [
        helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", width]) for value in ("INPUT", "OUTPUT")
    ]
    graph = helper.make_graph(nodes, name, floats[:1], floats[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def identity(folder: Path) -> Path:
    """FP32 [N,16] to the same: all that is measured is the mesh."""
    return _save(folder, "identity", [helper.make_node("Identity", ["INPUT"], ["OUTPUT"])], 16, [])


def mlp(folder: Path) -> Path:
    """FP32 [N,256] through three layers of 256 to [N,256]."""
    rng = np.random.default_rng(0)
    nodes, weights, value = [], [], "INPUT"
    for layer in range(3):
        matrix = (rng.standard_normal((256, 256)) / 16).astype(np.float32)
        weights += [
            numpy_helper.from_array(matrix, f"W{layer}"),
            numpy_helper.from_array(np.zeros(256, np.float32), f"B{layer}"),
        ]
        output = "OUTPUT" if layer == 2 else f"hidden{layer}"
        gemm = output if layer == 2 else f"gemm{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"W{layer}", f"B{layer}"], [gemm]))
        if layer < 2:
            nodes.append(helper.make_node("Relu", [gemm], [output]))
        value = output
    return _save(folder, "mlp", nodes, 256, weights)


def resnet50(folder: Path) -> Path:
    """The light ResNet-50 of the onnx package with random weights."""
    return ZOO["resnet50"].build(folder)


def bench_models() -> list[BenchModel]:
    """Returns what `make bench` measures, small to large."""
    resnet_input = next(iter(ZOO["resnet50"].inputs(0, 1)))
    return [
        BenchModel("identity", identity, "INPUT", (1, 16)),
        BenchModel("mlp", mlp, "INPUT", (1, 256)),
        BenchModel("resnet50", resnet50, resnet_input, (1, 3, 224, 224)),
    ]

"""The models of the benchmarks, with one request for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.in_process import open_session
from tests.zoo import ZOO

Inputs = dict[str, NDArray[Any]]

WIDE = 2_500_000
"""Values of FP32 in a tensor of 10 MB."""

PIPELINE_ROWS = 16
"""Rows of the request that is split into micro-batches: as many as a deployment compares bit for bit in its time limit."""


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model in a file, with one request and its output in another.

    Attributes:
        name: Its name, on every server.
        path: The .onnx file.
        case: An .npz of the inputs and, as `expected`, the output.
        width: Values in a row of its one input; 0 if that is no row of FP32.
    """

    name: str
    path: Path
    case: Path
    width: int = 0


@dataclass(frozen=True, slots=True)
class BenchModel:
    """A model, and the request that every client sends.

    Attributes:
        name: Its name.
        build: Writes it into a folder, returns the file.
        inputs: Makes the request's inputs.
        width: See `BuiltModel`.
    """

    name: str
    build: Callable[[Path], Path]
    inputs: Callable[[], Inputs]
    width: int = 0

    def built(self, folder: Path) -> BuiltModel:
        """Writes the model with its request and the output of ONNX Runtime."""
        path = self.build(folder)
        inputs = self.inputs()
        expected = open_session(path).run(None, inputs)[0]
        case = folder / f"{self.name}.npz"
        np.savez(case, expected=expected, **inputs)
        return BuiltModel(self.name, path, case, self.width)


def identity(folder: Path) -> Path:
    """FP32 [N,16] to the same: measures only the mesh."""
    return _save(folder, "identity", [helper.make_node("Identity", ["INPUT"], ["OUTPUT"])], (16,), (16,), {})


def mlp(folder: Path) -> Path:
    """FP32 [N,256] through three layers of 256 to [N,256]."""
    return _mlp(folder, "mlp", range(3))


def mlp_halves(folder: Path) -> tuple[Path, Path]:
    """Writes the MLP cut after its first layer, for servers that do not cut models."""
    return _mlp(folder, "mlp_first", range(1)), _mlp(folder, "mlp_second", range(1, 3))


def wide(folder: Path) -> Path:
    """FP32 [N,16], tiled to a tensor of 10 MB, whose sum is [N,1]: little computing, a large transfer."""
    nodes = [
        helper.make_node("Tile", ["INPUT", "repeats"], ["wide"]),
        helper.make_node("ReduceSum", ["wide", "axes"], ["OUTPUT"]),
    ]
    constants = {"repeats": np.array([1, WIDE // 16]), "axes": np.array([1])}
    return _save(folder, "wide", nodes, (16,), (1,), constants)


def large(folder: Path) -> Path:
    """FP32 [N,2500000] to the same: 10 MB in each direction."""
    return _save(folder, "large", [helper.make_node("Identity", ["INPUT"], ["OUTPUT"])], (WIDE,), (WIDE,), {})


def resnet50(folder: Path) -> Path:
    """The light ResNet-50 of the onnx package with random weights."""
    return ZOO["resnet50"].build(folder)


def resnet50_batches(folder: Path) -> Path:
    """The same with a batch of any size."""
    model = onnx.load(ZOO["resnet50"].build(folder))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for weight in model.graph.initializer:
        if weight.name in _shapes(model):
            # The classifier's Reshape counts on one row.
            weight.CopyFrom(numpy_helper.from_array(np.array([-1, 2048]), weight.name))
    path = folder / "resnet50_batches.onnx"
    onnx.save(model, path)
    return path


def convolutions(folder: Path) -> Path:
    """FP32 [N,3,64,64] through twelve convolutions of the same cost, after a small one, to [N,32]: two stages can be equal."""
    rng = np.random.default_rng(0)
    weights = {
        f"W{layer}": (rng.standard_normal((32, 32 if layer else 3, 3, 3)) / 12).astype(np.float32)
        for layer in range(13)
    }
    nodes, value = [], "INPUT"
    for layer, weight in enumerate(weights):
        nodes.append(helper.make_node("Conv", [value, weight], [f"conv{layer}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"]))
        value = f"relu{layer}"
    nodes.append(helper.make_node("ReduceMean", [value], ["OUTPUT"], axes=[2, 3], keepdims=0))
    return _save(folder, "convolutions", nodes, (3, 64, 64), (32,), weights)


def encoder(folder: Path) -> Path:
    """A transformer encoder of twelve layers."""
    return ZOO["encoder"].build(folder)


def _noise(name: str, *shape: int) -> Callable[[], Inputs]:
    return lambda: {name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


IDENTITY = BenchModel("identity", identity, _noise("INPUT", 1, 16), 16)
MLP = BenchModel("mlp", mlp, _noise("INPUT", 1, 256), 256)
WIDE_MODEL = BenchModel("wide", wide, _noise("INPUT", 1, 16), 16)
LARGE = BenchModel("large", large, _noise("INPUT", 1, WIDE), WIDE)
CONVOLUTIONS = BenchModel("convolutions", convolutions, _noise("INPUT", PIPELINE_ROWS, 3, 64, 64))
RESNET50 = BenchModel("resnet50", resnet50, _noise("gpu_0/data_0", 1, 3, 224, 224))
RESNET50_32 = BenchModel("resnet50_32", resnet50_batches, _noise("gpu_0/data_0", 32, 3, 224, 224))
ENCODER_32 = BenchModel("encoder_32", encoder, lambda: ZOO["encoder"].inputs(0, 32))


def _shapes(model: onnx.ModelProto) -> set[str]:
    return {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}


def _mlp(folder: Path, name: str, layers: range) -> Path:
    rng = np.random.default_rng(0)
    matrices = [(rng.standard_normal((256, 256)) / 16).astype(np.float32) for _ in range(3)]
    nodes, weights, value = [], {}, "INPUT"
    for layer in layers:
        weights |= {f"W{layer}": matrices[layer], f"B{layer}": np.zeros(256, np.float32)}
        last = layer == 2
        gemm = "OUTPUT" if last else f"gemm{layer}"
        nodes.append(helper.make_node("Gemm", [value, f"W{layer}", f"B{layer}"], [gemm]))
        if not last:
            value = "OUTPUT" if layer == layers[-1] else f"hidden{layer}"
            nodes.append(helper.make_node("Relu", [gemm], [value]))
    return _save(folder, name, nodes, (256,), (256,), weights)


def _save(
    folder: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    row: tuple[int, ...],
    output_row: tuple[int, ...],
    weights: dict[str, NDArray[Any]],
) -> Path:
    values = [
        helper.make_tensor_value_info(value, TensorProto.FLOAT, ["N", *shape])
        for value, shape in (("INPUT", row), ("OUTPUT", output_row))
    ]
    tensors = [numpy_helper.from_array(weight, key) for key, weight in weights.items()]
    graph = helper.make_graph(nodes, name, values[:1], values[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path

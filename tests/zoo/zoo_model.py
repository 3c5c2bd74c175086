"""One model of the zoo, and the short words with which its graph is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.tensor import Tensor

OPSET = 20
IR = 10

node = helper.make_node
value = helper.make_tensor_value_info
constant = numpy_helper.from_array


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A small model, the same at every build.

    Attributes:
        name: Its key in `ZOO`; `build` writes `<name>.onnx`.
        make: Returns the model.
        inputs: Inputs for a seed and a batch size (ignored where the batch is fixed).
        max_stages: Into how many stages tests cut it, at most; less than 4 where there is too little to cut.
        everywhere: Whether it is small enough to be cut at every legal position in tests.
        random: Whether it takes any random inputs that fit its signature.
        beside: Files beside the model that its weights are spread over.
    """

    name: str
    make: Callable[[], onnx.ModelProto]
    inputs: Callable[[int, int], dict[str, np.ndarray]]
    max_stages: int = 4
    everywhere: bool = True
    random: bool = True
    beside: tuple[str, ...] = ()

    def tensors(self, seed: int, batch: int = 2) -> dict[str, Tensor]:
        """Returns the inputs as they travel."""
        return {name: from_array(name, array) for name, array in self.inputs(seed, batch).items()}

    def build(self, folder: Path) -> Path:
        """Writes the model into `folder` and returns its path."""
        path = folder / f"{self.name}.onnx"
        if self.beside:
            made = self.make()
            _move_out(made, folder, self.beside)
            onnx.save(made, path)
        else:
            path.write_bytes(_stored(self.make))
        return path


@cache
def _stored(make: Callable[[], onnx.ModelProto]) -> bytes:
    """Returns a model as its file: making a large one takes longer than most that is done with it."""
    return make().SerializeToString(deterministic=True)


def _move_out(made: onnx.ModelProto, folder: Path, names: Sequence[str]) -> None:
    """Spreads initialisers over files in turn, each after some bytes that belong to none."""
    for number, tensor in enumerate(made.graph.initializer):
        file = folder / names[number % len(names)]
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = numpy_helper.to_array(tensor).tobytes()
        with file.open("ab") as content:
            content.write(b"\xff" * 52)
            offset = content.tell()
            content.write(raw)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": names[number % len(names)], "offset": offset, "length": len(raw)}
        for key, entry in entries.items():
            tensor.external_data.add(key=key, value=str(entry))


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
    opsets: dict[str, int] | None = None,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """Returns a model whose weights are initialisers."""
    initialisers = [constant(np.asarray(array), name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "zoo", list(inputs), list(outputs), initialisers)
    imports = [helper.make_opsetid(domain, version) for domain, version in (opsets or {"": OPSET}).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR, functions=list(functions))


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns random single-precision weights, scaled so that activations neither grow nor vanish."""
    fan_in = max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0])
    return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """Returns a single-precision value."""
    return value(name, TensorProto.FLOAT, list(shape))


def integers(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """Returns an int64 value."""
    return value(name, TensorProto.INT64, list(shape))


def random_floats(name: str, *shape: int) -> Callable[[int, int], dict[str, np.ndarray]]:
    """Returns inputs of one tensor: batch, then `shape`."""
    return lambda seed, batch: {
        name: np.random.default_rng(seed).standard_normal((batch, *shape)).astype(np.float32)
    }

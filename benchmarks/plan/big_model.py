"""Time and memory of `onnxmesh split` for a model of 4 GB with external data."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.machine import peak_bytes

WIDTH = 4096
NUM_LAYERS = 64
"""Of 64 MiB each: 4 GiB."""
NUM_STAGES = 4
OPTIONS = {
    "exact": ["--mode=exact"],
    "portable": ["--mode=portable", "--no-measure"],
    "portable, run beside the whole": ["--mode=portable"],
}
"""Options of the command for each measurement. Running a model reads all its weights, which are mapped."""


@dataclass(frozen=True, slots=True)
class BigCut:
    """One run of `onnxmesh split`.

    Attributes:
        what: The mode, and whether the difference from the whole model was measured.
        weight_bytes: Bytes of the model's weights.
        seconds: Wall time of the command.
        peak_bytes: Largest resident memory of its process.
    """

    what: str
    weight_bytes: int
    seconds: float
    peak_bytes: int


def build(folder: Path, num_layers: int = NUM_LAYERS) -> Path:
    """Writes a chain of MatMul and Tanh with distinct weights in a file beside it."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((WIDTH, WIDTH), dtype=np.float32) / 64
    nodes, initialisers, last = [], [], "x"
    with (folder / "big.data").open("wb") as data:
        for layer in range(num_layers):
            weight[0, 0] = layer
            tensor = TensorProto(name=f"w{layer}", data_type=TensorProto.FLOAT, dims=weight.shape)
            tensor.data_location = TensorProto.EXTERNAL
            entries = {"location": "big.data", "offset": data.tell(), "length": weight.nbytes}
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
            data.write(weight.data)
            initialisers.append(tensor)
            nodes.append(helper.make_node("MatMul", [last, tensor.name], [f"m{layer}"]))
            nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"t{layer}"]))
            last = f"t{layer}"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", WIDTH]) for name in ("x", last))
    graph = helper.make_graph(nodes, "big", [x], [y], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "big.onnx"
    onnx.save(model, path)
    return path


def cut(model: Path, out: Path, what: str) -> BigCut:
    """Runs the command and measures its peak memory.

    Args:
        model: What `build` wrote.
        out: Folder to write.
        what: Key of `OPTIONS`.
    """
    os.sync()  # so that pending writes of the model are not part of the measurement
    command = [sys.executable, "-m", "onnxmesh.cli", "split", str(model), f"--out={out}"]
    command += [f"--stages={NUM_STAGES}", "--json", *OPTIONS[what]]
    began = perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, peak_bytes(process.pid))
        sleep(0.05)
    seconds = perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    weight_bytes = (model.parent / "big.data").stat().st_size
    return BigCut(what, weight_bytes, seconds, most)

"""A model whose weights are in a file beside it, under any location."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from tests.zoo.zoo_model import floats, model, node

WEIGHTS = np.arange(4096, dtype=np.float32).reshape(64, 64) / 4096
"""Large enough to stay in a file of its own."""


def write_model(folder: Path, location: str, name: str = "m.onnx") -> Path:
    """Writes `y = relu(x @ WEIGHTS)` without its weights, which are declared at `location`; returns its file."""
    made = model([node("MatMul", ["x", "w"], ["m"]), node("Relu", ["m"], ["y"])], [floats("x", 1, 64)],
                 [floats("y", 1, 64)], {"w": WEIGHTS})  # fmt: skip
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(made.SerializeToString())
    return folder / name


def linked_as_in_a_cache(folder: Path) -> Path:
    """Writes the model as the cache of Hugging Face has it: model and data are links into a folder of blobs."""
    written = write_model(folder / "blobs", "model.onnx_data", "1111")
    (folder / "blobs" / "2222").write_bytes(WEIGHTS.tobytes())
    snapshot = folder / "snapshots" / "abc" / "onnx"
    snapshot.mkdir(parents=True)
    (snapshot / "model.onnx").symlink_to(f"../../../blobs/{written.name}")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/2222")
    return snapshot / "model.onnx"

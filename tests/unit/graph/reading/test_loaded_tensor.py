"""Reading of external tensors."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxmesh.graph.reading.loaded_tensor import load_tensor


@pytest.mark.parametrize("link", ["none", "hard", "symbolic"])
def test_load_tensor_reads_through_links(tmp_path, link):
    """The bytes at the tensor's offset, whatever the file is."""
    (tmp_path / "blob").write_bytes(np.arange(8, dtype=np.float32).tobytes())
    path = tmp_path / "w"
    {"none": (tmp_path / "blob").rename, "hard": lambda it: it.hardlink_to(tmp_path / "blob"),
     "symbolic": lambda it: it.symlink_to(tmp_path / "blob")}[link](path)  # fmt: skip
    tensor = ir.ExternalTensor(
        "w", 16, 16, ir.DataType.FLOAT, shape=ir.Shape([2, 2]), name="w", base_dir=tmp_path
    )
    assert load_tensor(tensor).numpy().tolist() == [[4, 5], [6, 7]]


def test_load_tensor_returns_others_as_they_are():
    """Data in memory is not copied."""
    tensor = ir.tensor(np.ones(3, np.float32))
    assert load_tensor(tensor) is tensor

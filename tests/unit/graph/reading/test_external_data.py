"""External data of models."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.source import check_source
from tests.zoo.zoo_model import floats, model, node


def refused(path) -> str:
    with pytest.raises(InvalidModel) as caught:
        check_source(path)
    assert str(path.parent) not in caught.value.message
    return caught.value.message


def external_model(folder, location="weights.bin", length=64):
    array = np.arange(16, dtype=np.float32)
    made = model([node("Add", ["x", "w"], ["y"])], [floats("x", 16)], [floats("y", 16)], {"w": array})
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="length", value=str(length))
    folder.mkdir(exist_ok=True)
    path = folder / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return path, array.tobytes()


def test_external_data_is_found(tmp_path):
    """Weights beside the model are part of it."""
    path, content = external_model(tmp_path)
    (tmp_path / "weights.bin").write_bytes(content)
    check_source(path)


def test_external_data_that_is_missing_is_named(tmp_path):
    """The message names the file and the tensor."""
    path, _ = external_model(tmp_path)
    assert refused(path) == "tensor 'w': external data file 'weights.bin' is missing beside the model"


def test_external_data_that_is_too_short_is_named(tmp_path):
    """A file that ends too early is no better than none."""
    path, content = external_model(tmp_path)
    (tmp_path / "weights.bin").write_bytes(content[:-1])
    assert "expected at least 64 bytes, got 63: download or export it again" in refused(path)
    (tmp_path / "weights.bin").write_bytes(b"version https://git-lfs.github.com/spec/v1\nsize 64\n")
    assert "external data file 'weights.bin' is a Git LFS pointer" in refused(path)


@pytest.mark.parametrize(
    "location",
    [
        "../secret.bin",
        "/etc/hostname",
        "a/../../secret.bin",
        "..\\secret.bin",
        "C:\\secret.bin",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    """A model cannot have other files read."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path, _ = external_model(tmp_path / "model", location)
    assert "outside the model's folder" in refused(path)


def test_external_data_that_links_outside_is_refused(tmp_path):
    """Nor through a symbolic link."""
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    path, _ = external_model(tmp_path / "model")
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    assert "links to outside" in refused(path)

"""Paths of models."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidModel
from onnxmesh.files.model_path import require_model_file


def refused(path):
    with pytest.raises(InvalidModel) as caught:
        require_model_file(path)
    return caught.value.message


def test_model_path_suggests_a_similar_name_for_a_missing_model(tmp_path):
    """Only one of a similar name is suggested."""
    (tmp_path / "resnet50.onnx").touch()
    require_model_file(tmp_path / "resnet50.onnx")
    missing = f"no model at '{tmp_path}/resnet-50.onnx': there is no such file"
    assert refused(tmp_path / "resnet-50.onnx") == f"{missing}; did you mean '{tmp_path}/resnet50.onnx'?"
    assert refused(tmp_path / "bert.onnx") == f"no model at '{tmp_path}/bert.onnx': there is no such file"
    assert refused(tmp_path / "nowhere" / "bert.onnx").endswith("there is no such file")


def test_model_path_refuses_a_folder(tmp_path):
    """The model in it is named, if there is one."""
    assert refused(tmp_path) == (
        f"no model at '{tmp_path}': it is a folder, and the file of a model is expected"
    )
    (tmp_path / "model.onnx").touch()
    assert refused(tmp_path).endswith(f"is expected, such as '{tmp_path}/model.onnx'")

"""Splitting a model into a folder of partitions."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidModel, InvalidPlan
from onnxmesh.graph.split import split_model
from tests.zoo import ZOO


@pytest.fixture
def mlp(tmp_path):
    """An MLP split in two: model and folder."""
    path = ZOO["mlp"].build(tmp_path)
    split_model(path, tmp_path / "out", 2)
    return path, tmp_path / "out"


def test_split_chooses_the_number_of_stages(tmp_path):
    """`None` chooses by cost: a small MLP stays whole."""
    plan, estimates = split_model(ZOO["mlp"].build(tmp_path), tmp_path / "out")
    assert len(plan.partitions) == 1
    assert estimates.why.startswith("1 stage")


def test_split_that_fails_writes_nothing(tmp_path):
    """Neither the output nor anything beside it."""
    path = ZOO["mlp"].build(tmp_path)
    with pytest.raises(InvalidPlan, match=r"at most \d+ stages, got 99"):
        split_model(path, tmp_path / "out", 99)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidModel):
        split_model(tmp_path / "bad.onnx", tmp_path / "out", 2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.onnx", "mlp.onnx"]


def test_split_refuses_a_folder_that_is_not_empty(mlp):
    """A split writes a new folder or an empty one."""
    path, out = mlp
    with pytest.raises(FileExistsError):
        split_model(path, out, 2)

"""Plan files: saved, loaded, refused."""

from __future__ import annotations

import json

import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.graph.cutting.plan_file import PLAN_FILE, PlanFile
from onnxmesh.graph.split import split_model
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO


@pytest.fixture
def mlp(tmp_path):
    """An MLP split in two: model and folder."""
    path = ZOO["mlp"].build(tmp_path)
    split_model(path, tmp_path / "out", 2)
    return path, tmp_path / "out"


def test_plan_file_survives_a_round_trip(mlp):
    """What is loaded is what was saved."""
    _, out = mlp
    plan = PlanFile.load(out)
    plan.check_files(out)
    before = (out / PLAN_FILE).read_bytes()
    plan.save(out)
    assert (out / PLAN_FILE).read_bytes() == before
    assert plan.level is OptimisationLevel.EXTENDED
    assert plan.model == "mlp.onnx"
    assert set(plan.versions) == {"onnxmesh", "onnx", "onnx-ir", "onnxruntime"}


def test_plan_file_that_is_missing_is_named(tmp_path):
    """Any other folder is not a split."""
    with pytest.raises(CorruptData, match=f"folder '{tmp_path.name}' has no plan.json"):
        PlanFile.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan.pop("signature"), "lacks 'signature'"),
        (lambda plan: plan.update(format=9), "expected format 2, got 9"),
        (lambda plan: plan.update(optimisation="most"), "'most' is not a valid OptimisationLevel"),
        (lambda plan: plan.update(partitions=[]), "has no partitions"),
        (lambda plan: plan["partitions"].reverse(), "not numbered from 0"),
        (lambda plan: plan["partitions"][0].pop("digest"), "lacks 'digest'"),
        (lambda plan: plan.update(partitions=7), "malformed"),
    ],
)
def test_plan_file_that_was_edited_is_refused(mlp, change, message):
    """The message says which part is wrong."""
    _, out = mlp
    plan = json.loads((out / PLAN_FILE).read_text())
    change(plan)
    (out / PLAN_FILE).write_text(json.dumps(plan))
    with pytest.raises(CorruptData, match=message):
        PlanFile.load(out)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_plan_file_that_is_damaged_is_refused(mlp, content):
    """Truncated and other content is data loss, not a crash."""
    _, out = mlp
    (out / PLAN_FILE).write_text(content)
    with pytest.raises(CorruptData, match=PLAN_FILE):
        PlanFile.load(out)


def test_plan_file_that_is_not_utf8_is_refused(mlp):
    """Nor is a picture."""
    _, out = mlp
    (out / PLAN_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptData, match=PLAN_FILE):
        PlanFile.load(out)


def test_plan_file_names_a_missing_or_modified_file(mlp):
    """Files are where the plan says, inside their stage's folder."""
    _, out = mlp
    plan = PlanFile.load(out)
    (out / "stage-0" / "model.onnx").rename(out / "stage-0" / "other.onnx")
    with pytest.raises(CorruptData, match=r"stage 0: 'model.onnx' is missing"):
        plan.check_files(out)
    text = (out / PLAN_FILE).read_text().replace('"path": "model.onnx"', '"path": "../../mlp.onnx"')
    (out / PLAN_FILE).write_text(text)
    with pytest.raises(CorruptData, match="is outside its folder"):
        PlanFile.load(out).check_files(out)

"""Splitting, the plan that is written, and whether it holds."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnxmesh.errors import CorruptData, InvalidModel, InvalidPlan, InvalidRequest
from onnxmesh.graph.checks.difference import compare_tensors
from onnxmesh.graph.checks.verify import verify_chain
from onnxmesh.graph.cutting.plan_file import PLAN_FILE, PlanFile
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.split import split_model
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO

# A vocabulary of 50 and the like: random indices are small.
VERIFIED = sorted(name for name, model in ZOO.items() if model.everywhere and model.random)


@pytest.fixture
def mlp(tmp_path):
    """An MLP split in two: model and folder."""
    path = ZOO["mlp"].build(tmp_path)
    split_model(path, tmp_path / "out", 2)
    return path, tmp_path / "out"


@pytest.mark.parametrize("name", VERIFIED)
def test_a_split_verifies(tmp_path, name):
    """Random inputs made from the signature are accepted, and the chain is equal to the whole."""
    path = ZOO[name].build(tmp_path)
    plan, estimates = split_model(path, tmp_path / "out", min(2, ZOO[name].max_stages))
    report = verify_chain(tmp_path / "out", path)
    assert report.equal
    assert report.num_stages == len(plan.partitions) == len(estimates.stages)
    assert report.num_inputs == 3
    assert report.largest_relative == 0.0


def test_the_number_of_stages_is_chosen(tmp_path):
    """`None` chooses by cost: a small MLP stays whole."""
    plan, estimates = split_model(ZOO["mlp"].build(tmp_path), tmp_path / "out")
    assert len(plan.partitions) == 1
    assert estimates.why.startswith("1 stage")


def test_a_chain_that_differs_is_found(mlp):
    """A weight changed in one partition, with a plan made to match, shows as a difference, not as equal."""
    path, out = mlp
    stage = out / "stage-1" / "model.onnx"
    model = onnx.load(stage)
    array = onnx.numpy_helper.to_array(model.graph.initializer[0]) * np.float32(1.001)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(array, model.graph.initializer[0].name))
    onnx.save(model, stage)
    with pytest.raises(CorruptData, match=r"stage 1: 'model.onnx' has digest"):
        verify_chain(out, path)
    plan = json.loads((out / PLAN_FILE).read_text())
    from onnxmesh.files.digests import describe_file, listing_digest  # noqa: PLC0415 # a forger's tools

    file = describe_file(out / "stage-1", "model.onnx")
    plan["partitions"][1]["files"][0].update(sha256=file.sha256, num_bytes=file.num_bytes)
    plan["partitions"][1]["digest"] = listing_digest([file])
    (out / PLAN_FILE).write_text(json.dumps(plan))
    report = verify_chain(out, path)
    assert not report.equal
    assert 0 < report.outputs[0].largest_absolute < 0.1
    assert 0 < report.outputs[0].largest_relative < 0.1


def test_another_model_is_not_verified(mlp, tmp_path):
    """A folder belongs to the model that was split."""
    _, out = mlp
    with pytest.raises(CorruptData, match=r"'branching_cnn.onnx' is not the model that was split"):
        verify_chain(out, ZOO["branching_cnn"].build(tmp_path))


def test_nothing_is_left_of_a_split_that_failed(tmp_path):
    """Neither the output nor anything beside it."""
    path = ZOO["mlp"].build(tmp_path)
    with pytest.raises(InvalidPlan, match=r"at most \d+ stages; 99 were asked for"):
        split_model(path, tmp_path / "out", 99)
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InvalidModel):
        split_model(tmp_path / "bad.onnx", tmp_path / "out", 2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.onnx", "mlp.onnx"]


def test_a_folder_with_content_is_not_overwritten(mlp):
    """A split writes a new folder or an empty one."""
    path, out = mlp
    with pytest.raises(FileExistsError):
        split_model(path, out, 2)


def test_the_plan_comes_back(mlp):
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


def test_a_folder_without_plan_is_named(tmp_path):
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
def test_an_edited_plan_is_refused(mlp, change, message):
    """The message says which part is wrong."""
    _, out = mlp
    plan = json.loads((out / PLAN_FILE).read_text())
    change(plan)
    (out / PLAN_FILE).write_text(json.dumps(plan))
    with pytest.raises(CorruptData, match=message):
        PlanFile.load(out)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\x00"])
def test_a_damaged_plan_is_refused(mlp, content):
    """Truncated and other content is data loss, not a crash."""
    _, out = mlp
    (out / PLAN_FILE).write_text(content)
    with pytest.raises(CorruptData, match=PLAN_FILE):
        PlanFile.load(out)


def test_bytes_that_are_no_text_are_no_plan(mlp):
    """Nor is a picture."""
    _, out = mlp
    (out / PLAN_FILE).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptData, match=PLAN_FILE):
        PlanFile.load(out)


def test_a_missing_or_foreign_file_is_named(mlp):
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


def test_a_chain_asks_for_what_it_passes_on(tmp_path):
    """An input that only a late stage reads is missed at the first, by name."""
    path = ZOO["late_input"].build(tmp_path)
    plan, _ = split_model(path, tmp_path / "out", 3)
    feeds = ZOO["late_input"].tensors(1)
    del feeds["late"]
    with pytest.raises(InvalidRequest, match="input 'late' is missing"):
        PartitionChain(tmp_path / "out", plan.partitions).run(feeds)


def test_differences_are_measured():
    """Largest absolute distance, and the same beside the largest magnitude; NaN equals NaN, and nothing else."""
    expected = from_array("y", np.array([1.0, 100.0, np.nan, np.inf], np.float32))
    close = compare_tensors(expected, from_array("y", np.array([1.5, 101.0, np.nan, np.inf], np.float32)))
    assert (close.equal, close.largest_absolute, close.largest_relative) == (False, 1.0, 0.01)
    assert compare_tensors(expected, expected).equal
    lost = compare_tensors(expected, from_array("y", np.array([1.0, 100.0, 0.0, np.inf], np.float32)))
    assert lost.largest_absolute == np.inf
    zeros = compare_tensors(from_array("y", np.float32([0.0])), from_array("y", np.float32([-0.0])))
    assert (zeros.equal, zeros.largest_absolute) == (False, 0.0)
    assert not compare_tensors(expected, from_array("y", np.zeros((2, 2), np.float32))).equal
    words = from_array("y", np.array(["a"], dtype=np.object_))
    assert (
        compare_tensors(words, from_array("y", np.array(["b"], dtype=np.object_))).largest_absolute == np.inf
    )


def test_random_inputs_fit_their_specs():
    """Every datatype, equal symbols of equal size, the same values for the same seed."""
    specs = [TensorSpec(kind.value, kind.value, (-1, 3)) for kind in Datatype]
    dims = {kind.value: ("N", 3) for kind in Datatype}
    made = random_inputs(specs, 7, dims=dims, free_dim=5)
    assert set(made) == {kind.value for kind in Datatype}
    for kind, tensor in ((Datatype(name), tensor) for name, tensor in made.items()):
        assert tensor.shape == (5, 3)
        assert kind is Datatype.BYTES or tensor.byte_size == kind.byte_size(15)
    assert made == random_inputs(specs, 7, dims=dims, free_dim=5)
    assert made != random_inputs(specs, 8, dims=dims, free_dim=5)
    assert to_array(made["INT64"]).min() >= 0
    unknown = random_inputs([TensorSpec("x", "FP32", None), TensorSpec("s", "INT64", ())], 1)
    assert (unknown["x"].shape, unknown["s"].shape) == ((2,), ())
    assert isinstance(unknown["s"], Tensor)

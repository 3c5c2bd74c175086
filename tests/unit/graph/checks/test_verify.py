"""Verification of partitions against their model."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnxmesh.errors import CorruptData, InvalidRequest, ModelRunFailed
from onnxmesh.graph.checks.verify import verify_chain
from onnxmesh.graph.cutting.plan_file import PLAN_FILE
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.split import split_model
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO

VERIFIED = sorted(name for name, model in ZOO.items() if model.everywhere and model.random)


@pytest.fixture
def mlp(tmp_path):
    """An MLP split in two: model and folder."""
    path = ZOO["mlp"].build(tmp_path)
    split_model(path, tmp_path / "out", 2)
    return path, tmp_path / "out"


@pytest.mark.parametrize("name", VERIFIED)
def test_verify_accepts_a_split(tmp_path, name):
    """Random inputs made from the signature are accepted, and the chain is equal to the whole."""
    path = ZOO[name].build(tmp_path)
    plan, estimates = split_model(path, tmp_path / "out", min(2, ZOO[name].max_stages))
    report = verify_chain(tmp_path / "out", path)
    assert report.equal
    assert report.num_stages == len(plan.partitions) == len(estimates.stages)
    assert report.num_inputs == 3
    assert report.largest_relative == 0.0


def test_verify_finds_a_chain_that_differs(mlp):
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


def test_verify_refuses_another_model(mlp, tmp_path):
    """A folder belongs to the model that was split."""
    _, out = mlp
    with pytest.raises(CorruptData, match=r"'branching_cnn.onnx' is not the model that was split"):
        verify_chain(out, ZOO["branching_cnn"].build(tmp_path))


@pytest.fixture
def two_figures(tmp_path):
    """A model that takes batch 1 and a length of at least 8 alone, as exporters leave it."""
    batch_one = onnx.numpy_helper.from_array(np.array([1, 1, 0]), "batch_one")
    axis = onnx.numpy_helper.from_array(np.array([1]), "axis")
    kernel = onnx.numpy_helper.from_array(np.ones((2, 1, 8), np.float32), "kernel")
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Unsqueeze", ["x", "axis"], ["x3"]),
            node("Reshape", ["x3", "batch_one"], ["r"]),
            node("Conv", ["r", "kernel"], ["c"]),
            node("Relu", ["c"], ["y"]),
        ],
        "g",
        [info("x", onnx.TensorProto.FLOAT, ["batch", "length"])],
        [info("y", onnx.TensorProto.FLOAT, ["a", 2, "b"])],
        [batch_one, axis, kernel],
    )
    path = tmp_path / "two_figures.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def test_verify_runs_at_the_shapes_of_the_plan(two_figures, tmp_path):
    """Those that the model was split for, and small ones where it takes them; else sizes that it takes are found."""
    split_model(two_figures, tmp_path / "planned", 2, shapes=InputShapes(1, {"x": (1, 20)}))
    split_model(two_figures, tmp_path / "unplanned", 2)
    planned, unplanned = (verify_chain(tmp_path / folder, two_figures) for folder in ("planned", "unplanned"))
    assert (planned.equal, planned.num_inputs, planned.shapes) == (True, 3, ({"x": (1, 20)},))
    assert (unplanned.equal, unplanned.num_inputs, unplanned.shapes) == (True, 3, ({"x": (1, 8)},))
    path = ZOO["mlp"].build(tmp_path)
    split_model(path, tmp_path / "mlp", 2)
    (batch, *rest), small = (each["x"] for each in verify_chain(tmp_path / "mlp", path).shapes)
    assert (batch, small) == (1, (2, *rest))


def test_verify_takes_shapes_and_inputs(two_figures, tmp_path):
    """Inputs that are given are run once where nothing is random; a refusal has the shapes."""
    split_model(two_figures, tmp_path / "out", 2)
    folder = tmp_path / "out"
    assert verify_chain(folder, two_figures, shapes=InputShapes(1, {"x": (1, 9)})).shapes == ({"x": (1, 9)},)
    given = {"x": from_array("x", np.ones((1, 30), np.float32))}
    report = verify_chain(folder, two_figures, given=given)
    assert (report.num_inputs, report.shapes) == (1, ({"x": (1, 30)},))
    with pytest.raises(ModelRunFailed, match=r"refuses inputs of shape x 2x2: .*Reshape"):
        verify_chain(folder, two_figures, free_dim=2)
    with pytest.raises(InvalidRequest, match="shape for 'x'"):
        verify_chain(folder, two_figures, given={"x": from_array("x", np.ones(30, np.float32))})


def test_verify_reads_a_plan_without_shapes(mlp):
    """As earlier versions wrote it: every dynamic dimension is 1."""
    path, out = mlp
    plan = json.loads((out / PLAN_FILE).read_text())
    assert plan.pop("shapes") == {"batch": 1, "inputs": {}}
    (out / PLAN_FILE).write_text(json.dumps(plan))
    assert verify_chain(out, path).equal
    (out / PLAN_FILE).write_text(json.dumps({**plan, "shapes": {"batch": 0, "inputs": {}}}))
    with pytest.raises(CorruptData, match=r"plan\.json is malformed: batch: expected 1 or more"):
        verify_chain(out, path)


def test_random_inputs_match_their_specs():
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

"""Measured costs and profiles."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnxmesh.errors import InvalidRequest, ModelRunFailed
from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare
from onnxmesh.graph.measuring.profiler import profile_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile
from onnxmesh.tensors.arrays import from_array
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, integers, model, node

SECONDS = 0.02


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for what is measured of the device, once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def job(source, work, level=OptimisationLevel.BASIC, *, device="", **options) -> PrepareJob:
    return PrepareJob(source, work, PrepareOptions(level, **({"profile_s": SECONDS} | options)), device)


def profiled(tmp_path, source, mode=CutMode.EXACT, **options) -> tuple[GraphCosts, Profile]:
    answer = json.loads(prepare(job(source, tmp_path / "work", mode=mode, **options)))
    assert answer["unprofiled"] == ""
    return GraphCosts.from_json(answer["costs"]), Profile.from_json(answer["profile"])


def test_measured_costs_name_a_model_that_refuses_random_inputs(tmp_path):
    """Its costs are there all the same."""
    nodes = [node("Add", ["x", "ten"], ["far"]), node("Gather", ["table", "far"], ["y"])]
    weights = {"ten": np.array(10), "table": np.zeros((3, 2), np.float32)}
    made = model(nodes, [integers("x", 1)], [floats("y", 1, 2)], weights)
    onnx.save(made, tmp_path / "m.onnx")
    answer = json.loads(prepare(job(tmp_path / "m.onnx", tmp_path / "work", OptimisationLevel.NONE)))
    assert answer["profile"] == ""
    assert "'y'" in answer["unprofiled"]
    assert "indices element out of data bounds" in answer["unprofiled"]
    assert len(GraphCosts.from_json(answer["costs"]).nodes) == 2
    with pytest.raises(ModelRunFailed, match="out of data bounds"):
        profile_model(tmp_path / "m.onnx", {"x": from_array("x", np.array([0]))}, seconds=SECONDS)


def test_measured_costs_are_made_on_request_only(tmp_path):
    """Costs alone."""
    answer = json.loads(prepare(job(ZOO["mlp"].build(tmp_path), tmp_path / "work", profile_s=0.0)))
    assert (answer["profile"], answer["unprofiled"]) == ("", "")


def test_measured_costs_have_the_shapes_of_the_run(tmp_path):
    """All of 100 normal numbers differ from zero."""
    nodes = [node("NonZero", ["x"], ["where"]), node("Cast", ["where"], ["y"], to=onnx.TensorProto.FLOAT)]
    onnx.save(model(nodes, [floats("x", 100)], [floats("y", 1, "K")]), tmp_path / "m.onnx")
    costs, _ = profiled(tmp_path, tmp_path / "m.onnx")
    assert costs.boundaries[0].num_bytes == 800


def test_measured_costs_have_the_shapes_of_the_plan(tmp_path):
    """And says so; a shape that the model cannot have is refused before anything runs."""
    source = ZOO["branching_cnn"].build(tmp_path)
    shapes = InputShapes(inputs={"image": (3, 3, 16, 8)})
    _, profile = profiled(tmp_path, source, shapes=shapes)
    assert profile.shapes == {"image": (3, 3, 16, 8)}
    wrong = InputShapes(inputs={"image": (3, 4, 16, 8)})
    with pytest.raises(InvalidRequest, match="'image': expected"):
        prepare(job(source, tmp_path / "other", shapes=wrong))

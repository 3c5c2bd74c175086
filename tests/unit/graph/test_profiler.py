"""Times of nodes, as far as they can be told without a clock: which nodes have one, and what they add up to."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import onnx
import pytest

from onnxmesh.device.device_kind import device_kind_name
from onnxmesh.errors import InvalidRequest, ModelRunFailed
from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare
from onnxmesh.graph.measuring.attribution import attribute_times
from onnxmesh.graph.measuring.profiler import ExecutedNode, MeasuredRun, profile_model
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import from_array, to_array
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


@pytest.mark.parametrize("mode", list(CutMode))
@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "branching_cnn",
        "if_loop",
        "scan",
        "strings",
        "half_precision",
        "sequence_inside",
        "functions",
        "tied_weights",
    ],
)
def test_every_node_of_the_row_has_a_time(tmp_path, name, mode):
    """Also graphs with bodies, strings and sequences; the profile says of what it is."""
    costs, profile = profiled(tmp_path, ZOO[name].build(tmp_path), mode, device=device_kind_name(2))
    times = profile.devices[device_kind_name(2)]
    assert len(times.node_s) == len(costs.nodes)
    assert min(times.node_s) >= 0
    assert sum(times.node_s) > 0
    assert profile.mode is mode
    assert list(profile.shapes) == [spec.name for spec in costs.signature.inputs]
    assert not [
        path for path in (tmp_path / "work").rglob("*") if "profile" in path.name or "fused" in path.name
    ]


def test_times_add_up_to_the_whole_and_a_body_counts_once(tmp_path):
    """What runs inside a Loop is in the Loop's time; the names of the graph are those that it had."""
    path = ZOO["if_loop"].build(tmp_path)
    run = profile_model(path, ZOO["if_loop"].tensors(1, 4), seconds=SECONDS)
    assert [found.outputs for found in run.nodes] == [
        tuple(made.output) for made in onnx.load(path).graph.node
    ]
    assert sum(found.seconds for found in run.nodes) == pytest.approx(run.total_s)
    assert run.shapes["looped"] == (4, 6)
    assert run.num_runs >= 1


def test_a_model_that_refuses_random_inputs_has_no_profile_but_a_reason(tmp_path):
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


def test_without_a_wish_nothing_is_measured(tmp_path):
    """Costs alone."""
    answer = json.loads(prepare(job(ZOO["mlp"].build(tmp_path), tmp_path / "work", profile_s=0.0)))
    assert (answer["profile"], answer["unprofiled"]) == ("", "")


def test_shapes_that_data_decide_come_from_the_run(tmp_path):
    """All of 100 normal numbers differ from zero."""
    nodes = [node("NonZero", ["x"], ["where"]), node("Cast", ["where"], ["y"], to=onnx.TensorProto.FLOAT)]
    onnx.save(model(nodes, [floats("x", 100)], [floats("y", 1, "K")]), tmp_path / "m.onnx")
    costs, _ = profiled(tmp_path, tmp_path / "m.onnx")
    assert costs.boundaries[0].num_bytes == 800


def test_a_profile_is_made_at_the_shapes_of_the_plan(tmp_path):
    """And says so; a shape that the model cannot have is refused before anything runs."""
    source = ZOO["branching_cnn"].build(tmp_path)
    shapes = InputShapes(inputs={"image": (3, 3, 16, 8)})
    _, profile = profiled(tmp_path, source, shapes=shapes)
    assert profile.shapes == {"image": (3, 3, 16, 8)}
    wrong = InputShapes(inputs={"image": (3, 4, 16, 8)})
    with pytest.raises(InvalidRequest, match="'image': expected"):
        prepare(job(source, tmp_path / "other", shapes=wrong))


def chain(tmp_path):
    """x -> a -> b -> c -> y."""
    names = ["x", "a", "b", "c", "y"]
    nodes = [node("Neg", [before], [after]) for before, after in pairwise(names)]
    onnx.save(model(nodes, [floats("x", 4)], [floats("y", 4)]), tmp_path / "chain.onnx")
    return topological_order(load_graph(tmp_path / "chain.onnx"))


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ([("", ("a",), 1.0), ("", ("b",), 2.0), ("", ("c",), 3.0), ("", ("y",), 4.0)], (1, 2, 3, 4)),
        # One node for a and b, of which b is three times as dear.
        ([("", ("b",), 4.0), ("", ("c",), 3.0), ("", ("y",), 4.0)], (1, 3, 3, 4)),
        # Another layout: values have other names, nodes tell what they stand for.
        ([("", ("r0",), 1.0), ("b_nchwc", ("r1",), 4.0), ("", ("y",), 5.0)], (1.25, 3.75, 3, 2)),
        # What comes after the last known value goes to the last.
        ([("", ("y",), 9.0), ("", ("r",), 1.0)], (1, 3, 3.6, 2.4)),
        # Nothing is known of single nodes.
        ([], (1, 3, 3.6, 2.4)),
    ],
)
def test_times_of_fused_nodes_are_shared_by_what_they_stand_for(tmp_path, ran, expected):
    """In proportion to estimates, and nothing is lost."""
    nodes = tuple(ExecutedNode(*figures) for figures in ran)
    found = attribute_times(MeasuredRun(nodes, 10.0, {}, 1), chain(tmp_path), [1.0, 3.0, 3.6, 2.4])
    assert found == pytest.approx(expected)


def test_indices_stay_within_the_tables_they_pick_from(tmp_path):
    """The smaller of two tables counts, also behind a Cast; what picks from nothing known has no bound."""
    nodes = [
        node("Gather", ["small", "ids"], ["a"]),
        node("Cast", ["ids"], ["wide"], to=onnx.TensorProto.INT32),
        node("Gather", ["large", "wide"], ["b"]),
        node("Gather", ["table", "columns"], ["c"], axis=1),
        node("Cast", ["free"], ["d"], to=onnx.TensorProto.FLOAT),
    ]
    weights = {
        "small": np.zeros((7, 2), np.float32),
        "large": np.zeros((900, 2), np.float32),
        "table": np.zeros((3, 50), np.float32),
    }
    outputs = [floats(name, None, None) for name in "abc"] + [floats("d", "N")]
    onnx.save(
        model(nodes, [integers(name, "N") for name in ("ids", "columns", "free")], outputs, weights),
        tmp_path / "m.onnx",
    )
    assert index_bounds(topological_order(load_graph(tmp_path / "m.onnx"))) == {"ids": 7, "columns": 50}


def test_random_integers_fill_their_bounds():
    """From 0 to the last index; without a bound they stay small."""
    specs = [TensorSpec("ids", "INT64", (-1,)), TensorSpec("free", "INT32", (-1,))]
    made = random_inputs(specs, 1, shapes={"ids": (5000,), "free": (100,)}, bounds={"ids": 1000})
    ids, free = to_array(made["ids"]), to_array(made["free"])
    assert (ids.min() >= 0, ids.max() < 1000, ids.max() > 900) == (True, True, True)
    assert free.max() < 4
    assert made["ids"].shape == (5000,)


@pytest.mark.parametrize("level", [OptimisationLevel.BASIC, OptimisationLevel.ALL])
def test_a_transformer_is_told_apart_by_level(tmp_path, level):
    """Profiles of two levels do not mix: the second is refused."""
    source = ZOO["tied_weights"].build(tmp_path)
    first = Profile.from_json(
        json.loads(prepare(job(source, tmp_path / "a", OptimisationLevel(level))))["profile"]
    )
    assert first.level is level
    with pytest.raises(InvalidRequest, match="optimisation"):
        first.check(first.source_digest, OptimisationLevel.NONE, first.shapes)

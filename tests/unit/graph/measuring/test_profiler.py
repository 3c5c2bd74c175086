"""Measured times of nodes."""

from __future__ import annotations

import json

import onnx
import pytest

from onnxmesh.device.device_kind import device_kind_name
from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare
from onnxmesh.graph.measuring.profiler import profile_model
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile
from tests.zoo import ZOO

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
def test_profile_has_a_time_for_every_node(tmp_path, name, mode):
    """Also graphs with bodies, strings and sequences; the profile names its model and device."""
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


def test_profile_adds_up_to_the_whole_with_a_body_counted_once(tmp_path):
    """What runs inside a Loop is in the Loop's time; the names of the graph are those that it had."""
    path = ZOO["if_loop"].build(tmp_path)
    run = profile_model(path, ZOO["if_loop"].tensors(1, 4), seconds=SECONDS)
    assert [found.outputs for found in run.nodes] == [
        tuple(made.output) for made in onnx.load(path).graph.node
    ]
    assert sum(found.seconds for found in run.nodes) == pytest.approx(run.total_s)
    assert run.shapes["looped"] == (4, 6)
    assert run.num_runs >= 1


@pytest.mark.parametrize("level", [OptimisationLevel.BASIC, OptimisationLevel.ALL])
def test_profile_distinguishes_optimisation_levels(tmp_path, level):
    """Profiles of two levels do not mix: the second is refused."""
    source = ZOO["tied_weights"].build(tmp_path)
    first = Profile.from_json(
        json.loads(prepare(job(source, tmp_path / "a", OptimisationLevel(level))))["profile"]
    )
    assert first.level is level
    with pytest.raises(InvalidRequest, match="optimisation"):
        first.check(first.source_digest, OptimisationLevel.NONE, first.shapes)

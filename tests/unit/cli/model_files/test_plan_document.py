"""The JSON of `onnxmesh plan`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from examples.sample_files import ROOT
from onnxmesh.cli.app import app
from tests.zoo import ZOO

DEVICES = "kinds: [{name: box, count: 3, memory_gb: 2}, {name: big, gflops_per_s: 400}]\n"


def run(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def model(tmp_path):
    return ZOO["branching_cnn"].build(tmp_path)


@pytest.fixture
def devices(tmp_path):
    path = tmp_path / "devices.yaml"
    path.write_text(DEVICES)
    return path


def test_plan_document_is_consistent(model, devices):
    """The document's stages cover the graph, and its promises follow from its stages."""
    done = run(model, "--stages", 3, "--devices", devices, "--json")
    assert done.exit_code == 0, done.stderr
    plan = json.loads(done.stdout)
    stages = plan["stages"]
    assert [stage["start"] for stage in stages] == [0, *plan["cuts"]]
    assert [stage["end"] for stage in stages] == [*plan["cuts"], plan["num_nodes"]]
    assert plan["period_s"] == max(stage["period_s"] for stage in stages)
    assert plan["latency_s"] == pytest.approx(
        sum(stage["compute_s"] + stage["transfer_s"] for stage in stages)
    )
    assert stages[plan["bottleneck"]]["period_s"] == plan["period_s"]
    assert plan["throughput_per_s"] * plan["period_s"] == pytest.approx(1.0)
    assert plan["throughput_ratio"] == pytest.approx(plan["whole"]["compute_s"] / plan["period_s"])
    assert plan["latency_ratio"] == pytest.approx(plan["latency_s"] / plan["whole"]["compute_s"])
    assert {device["name"]: device["count"] for device in plan["devices"]} == {"box": 3, "big": 1}
    assert plan["times"] == {name: {"source": "estimated", "device": None} for name in ("box", "big")}
    assert all(stage["replicas"] == sum(held["count"] for held in stage["devices"]) for stage in stages)


def test_plan_document_has_documented_fields(model):
    """docs/planning.md names each field of `--json`."""
    plan = json.loads(run(model, "--stages", 2, "--json").stdout)
    text = (ROOT / "docs" / "planning.md").read_text()
    fields = {
        *plan,
        *plan["stages"][0],
        *plan["whole"],
        *plan["devices"][0],
        *next(iter(plan["times"].values())),
    }
    assert not {field for field in fields if f"`{field}`" not in text}

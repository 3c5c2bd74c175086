"""`onnxmesh plan` as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from typer.testing import CliRunner

from examples.sample_files import ROOT
from onnxmesh.cli.app import app
from onnxmesh.cli.model_files.plan_inputs import model_costs
from onnxmesh.cli.model_files.plan_profile import profile_beside
from onnxmesh.graph.reading.source import source_digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile
from tests.zoo import ZOO
from tests.zoo.external_model import linked_as_in_a_cache

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


def profile_of(model, **changes):
    """A profile of the model as it is planned for without options, with times that add up to 10 ms."""
    costs = model_costs(model, OptimisationLevel.EXTENDED, CutMode.EXACT, InputShapes())
    parts = {
        "source_digest": source_digest(model),
        "level": OptimisationLevel.EXTENDED,
        "shapes": InputShapes().of(costs.signature.inputs),
        "devices": {"box": DeviceTimes((0.01 / len(costs.nodes),) * len(costs.nodes), DeviceSpeed())},
    }
    return Profile(**(parts | changes))


def test_plan_prints_a_table_and_sentences(model):
    """A row for each stage, the slowest marked, then the predictions, the bottleneck and the source of the times."""
    done = run(model, "--stages", 3)
    assert done.exit_code == 0, done.stderr
    assert "branching_cnn planned for throughput, exact mode" in done.stdout
    rows = [line.split("│")[1].split() for line in done.stdout.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows if row] == ["0", "1", "2"]
    assert done.stdout.count("◀ slowest") == 1
    lines = " ".join(done.stdout.split())
    for words in (
        "throughput: ",
        " uncut on one ",
        "latency of a single request: ",
        "limited by",
    ):
        assert words in lines
    assert "times are estimated; `onnxmesh profile` measures them" in lines


def test_plan_follows_the_links_of_a_cache(tmp_path):
    """Model and weights are links into a folder of blobs."""
    done = run(linked_as_in_a_cache(tmp_path), "--stages", 2, "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["stages"]) == 2


def test_plan_writes_the_picture_and_no_other_file(model, tmp_path):
    """An SVG with the model's name is written to the given path, and no other file is."""
    before = set(tmp_path.iterdir())
    assert run(model, "--stages", 2, "--svg", tmp_path / "plan.svg").exit_code == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "plan.svg"}
    root = ET.parse(tmp_path / "plan.svg").getroot()
    assert any("branching_cnn" in (element.text or "") for element in root.iter())


@pytest.mark.parametrize("name", ["edge", "data-centre", "mixed"])
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_plan_accepts_the_example_devices(model, name, objective):
    """Each example file makes a plan on its own kinds, for both objectives."""
    path = ROOT / "examples" / "devices" / f"{name}.yaml"
    done = run(model, "--devices", path, "--objective", objective, "--json")
    assert done.exit_code == 0, done.stderr
    plan = json.loads(done.stdout)
    kinds = {device["name"]: device["count"] for device in plan["devices"]}
    held = {}
    for stage in plan["stages"]:
        for device in stage["devices"]:
            held[device["kind"]] = held.get(device["kind"], 0) + device["count"]
    assert held
    assert all(count <= kinds[kind] for kind, count in held.items())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--objective", "fast"], "--objective: expected throughput or latency, got 'fast'"),
        (["--objective", "Latency"], "did you mean 'latency'?"),
        (["--stages", "none"], "--stages: expected a positive number or 'auto', got 'none'"),
        (["--stages", "500"], "500"),
        (["--replicas", "0"], "--replicas: expected a positive number or 'auto', got '0'"),
        (["--batch", "0"], "--batch: expected a positive number, got 0"),
        (["--shape", "image"], "--shape: expected NAME=1x3x224x224, got 'image'"),
        (["--shape", "picture=1x3x8x8"], "shape for 'picture': the model's inputs are image"),
        (
            ["--optimisation", "extreme"],
            "--optimisation: expected none or basic or extended or all, got 'extreme'",
        ),
        (
            ["--mode", "portabel"],
            "--mode: expected exact or portable, got 'portabel'; did you mean 'portable'?",
        ),
        (["--devices", "none.yaml"], "--devices: cannot read 'none.yaml'"),
        (["--devices", "."], "--devices: cannot read '.'"),
        (["--profile", "none.json"], "--profile: cannot read 'none.json'"),
        (["--profile", "x.json", "--no-profile"], "--no-profile and --profile exclude each other"),
        (["--svg", "nowhere/plan.svg"], "--svg: there is no folder 'nowhere'"),
        (["--svg", "."], "--svg: '.' is a folder"),
        (["--svg", "/dev/null"], "--svg: '/dev/null' is no ordinary file"),
        (["--stages", "9" * 30, "--replicas", "9" * 30], "at most"),
    ],
)
def test_plan_reports_wrong_input_in_one_line(model, tmp_path, monkeypatch, arguments, words):
    """Nothing on standard output, nothing written, one line that names what is wrong."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    more = [] if "--svg" in arguments else ["--svg", "plan.svg"]
    done = run(model, *arguments, *more)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert words in done.stderr
    assert set(tmp_path.iterdir()) == before


def test_plan_names_a_file_that_is_no_model(tmp_path):
    """No file, and a file of something else: exit code 2."""
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    for name, words in [("none.onnx", "there is no such file"), ("text.onnx", "not an ONNX model")]:
        done = run(tmp_path / name)
        assert (done.exit_code, words in done.stderr, done.stdout) == (2, True, ""), done.stderr


def test_plan_uses_the_profile_beside_the_model(model, devices):
    """Times of a kind that was measured are those of the profile, others' are scaled from it; both are in the document."""
    profile_beside(model).write_text(profile_of(model).to_json())
    plan = json.loads(run(model, "--devices", devices, "--json").stdout)
    assert plan["profile"] == str(profile_beside(model))
    assert plan["times"] == {
        "box": {"source": "measured", "device": "box"},
        "big": {"source": "scaled", "device": "box"},
    }
    only = model.parent / "only.yaml"
    only.write_text("kinds: [{name: box}]")
    plan = json.loads(run(model, "--stages", 1, "--replicas", 1, "--devices", only, "--json").stdout)
    assert plan["latency_s"] == pytest.approx(0.01, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"source_digest": "0" * 64},
            "the profile is of another model: expected digest",
        ),
        (
            {"level": OptimisationLevel.BASIC},
            "the profile is of another optimisation level: expected extended, got basic",
        ),
        (
            {"shapes": {"image": (4, 3, 8, 8)}},
            "the profile is of other shapes: expected image 1x3x1x1, got image 4x3x8x8",
        ),
    ],
)
def test_plan_refuses_a_profile_of_something_else(model, tmp_path, changes, words):
    """Another model, level or shape: exit code 2 and a line that names both."""
    path = tmp_path / "other.json"
    path.write_text(profile_of(model, **changes).to_json())
    done = run(model, "--profile", path)
    assert (done.exit_code, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    profile_beside(model).write_text(path.read_text())
    assert run(model).exit_code == 2
    assert "times are estimated" in run(model, "--no-profile").stdout


def test_plan_runs_as_a_process(tmp_path):
    """The whole command: a model and devices as files, JSON on standard output, a picture in a file."""
    ZOO["mlp"].build(tmp_path)
    (tmp_path / "devices.yaml").write_text(DEVICES)
    command = [
        sys.executable,
        "-m",
        "onnxmesh.cli",
        "plan",
        "mlp.onnx",
        "--devices",
        "devices.yaml",
        "--stages",
        "2",
    ]
    done = subprocess.run(
        [*command, "--json", "--svg", "plan.svg"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["stages"]) == 2
    assert ET.parse(tmp_path / "plan.svg").getroot().tag.endswith("svg")
    assert {path.name for path in tmp_path.iterdir()} == {"mlp.onnx", "devices.yaml", "plan.svg"}

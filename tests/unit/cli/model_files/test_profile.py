"""`onnxmesh profile` as a person types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from onnxmesh.cli.app import app
from onnxmesh.cli.model_files.operator_times import operator_times
from onnxmesh.cli.model_files.profile import profile_table
from onnxmesh.graph.reading.source import source_digest
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.profile import Profile
from onnxmesh.model.signature import Signature
from tests.zoo import ZOO
from tests.zoo.external_model import linked_as_in_a_cache
from tests.zoo.zoo_model import floats, model, node


@pytest.fixture
def run(tmp_path):
    """Runs the command on files in a folder of its own, briefly, with a cache of its own."""

    def invoke(*arguments):
        return CliRunner().invoke(
            app,
            ["profile", *map(str, arguments), "--seconds", "0.02", "--device", "cpu"],
            env={"COLUMNS": "200", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        )

    return invoke


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model and the profile that was made of it."""
    folder = tmp_path_factory.mktemp("made")
    source = ZOO["mlp"].build(folder)
    arguments = ["profile", str(source), "--seconds", "0.02", "--device", "cpu"]
    result = CliRunner().invoke(app, arguments, env={"XDG_CACHE_HOME": str(folder / "cache")})
    assert result.exit_code == 0
    return source, (folder / "mlp.profile.json").read_bytes()


def known(path) -> Profile:
    return Profile.from_json(path.read_text(encoding="utf-8"))


def model_costs(*operators: str) -> GraphCosts:
    nodes = tuple(NodeCost(f"n{at}", name, 10, 100, ()) for at, name in enumerate(operators))
    return GraphCosts(nodes, (Boundary(4, 1),) * (len(nodes) - 1), (), (), Signature((), ()))


def test_profile_is_written_beside_the_model(run, tmp_path):
    """With a table for people; nothing else is left in the folder."""
    source = ZOO["mlp"].build(tmp_path)
    result = run(source)
    assert result.exit_code == 0, result.stderr
    assert "Gemm" in result.stdout
    assert "GFLOP/s" in result.stdout
    assert "at the peak of a run" in result.stdout
    assert len(known(tmp_path / "mlp.profile.json").devices) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "mlp.onnx", "mlp.profile.json"]


def test_profile_keeps_other_kinds_of_devices_and_replaces_its_own(run, tmp_path):
    """Two numbers of threads are two kinds."""
    source = ZOO["mlp"].build(tmp_path)
    for threads in (1, 2, 1):
        assert run(source, "--threads", threads, "--out", tmp_path / "p.json").exit_code == 0
    assert [name.rpartition("-")[2] for name in sorted(known(tmp_path / "p.json").devices)] == ["1t", "2t"]


def test_profile_json_is_consistent(run, tmp_path):
    """One document, with figures by operator that add up to the whole."""
    result = run(ZOO["branching_cnn"].build(tmp_path), "--shape", "image=2x3x8x8", "--json")
    document = json.loads(result.stdout)
    assert document["shapes"] == {"image": [2, 3, 8, 8]}
    assert sum(part["seconds"] for part in document["operators"]) == pytest.approx(document["total_s"])
    assert document["peak_bytes"] > document["weight_bytes"]
    assert document["file"] == str(tmp_path / "branching_cnn.profile.json")


def test_profile_measures_a_model_without_inputs(run, tmp_path):
    """Whose nodes are all constant, so that none is left to measure."""
    made = model([node("Mul", ["w", "w"], ["a"]), node("Exp", ["a"], ["y"])], [], [floats("y", 3)],
                 {"w": np.arange(3, dtype=np.float32)})  # fmt: skip
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    for options in ([], ["--json"], ["--mode", "portable", "--out", tmp_path / "p.json"]):
        done = run(tmp_path / "m.onnx", *options)
        assert done.exit_code == 0, done.output
    assert "0 bytes of weights" in done.stdout


def test_profile_follows_the_links_of_a_cache(run, tmp_path):
    """And finds its own file to be of that model when it measures again."""
    source = linked_as_in_a_cache(tmp_path)
    for _ in range(2):
        done = run(source, "--out", tmp_path / "p.json")
        assert done.exit_code == 0, done.stderr
    assert Profile.from_json((tmp_path / "p.json").read_text()).source_digest == source_digest(source)


def test_profile_of_another_model_is_not_overwritten(run, tmp_path):
    """Exit code 2, and both digests in the message."""
    target = tmp_path / "p.json"
    assert run(ZOO["mlp"].build(tmp_path), "--out", target).exit_code == 0
    before = target.read_bytes()
    result = run(ZOO["tied_weights"].build(tmp_path), "--out", target)
    assert result.exit_code == 2
    assert known(target).source_digest in result.stderr
    assert "expected digest" in result.stderr
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "3"], "the profile is of other shapes: expected x 3x32, got x 1x32"),
        (["--optimisation", "none"], "another optimisation level: expected none, got extended"),
        (["--mode", "portable"], "another mode: expected portable, got exact"),
        (["--shape", "x=1x31"], "shape for 'x': expected"),
        (["--shape", "z=1x31"], "the model's inputs are x"),
        (["--shape", "x"], "--shape: expected NAME=1x3x224x224, got 'x'"),
        (["--device", "tpu"], "--device: expected auto, cpu or cuda, got 'tpu'"),
    ],
)
def test_profile_reports_wrong_input_in_one_line(made, tmp_path, options, words):
    """The existing file is unchanged."""
    source, before = made
    target = tmp_path / "p.json"
    target.write_bytes(before)
    arguments = ["profile", str(source), "--out", str(target), "--seconds", "0.02", *options]
    result = CliRunner().invoke(app, arguments, env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert target.read_bytes() == before


def test_profile_does_not_overwrite_another_file(run, tmp_path):
    """Such as a model's file given as --out."""
    source = ZOO["mlp"].build(tmp_path)
    result = run(source, "--out", source)
    assert result.exit_code == 2
    assert "exists and is not a profile" in result.stderr
    nowhere = run(source, "--out", tmp_path / "no" / "folder.json")
    assert nowhere.exit_code == 2
    assert "--out:" in nowhere.stderr


def test_profile_table_sums_the_other_operators():
    """The sum is of all of them."""
    costs = model_costs(*(f"Op{at}" for at in range(6)))
    operators = operator_times(costs, (6.0, 5.0, 4.0, 3.0, 2.0, 1.0))
    table = profile_table("m.onnx", "cpu", costs, operators, shown=3)
    assert list(table.columns[0].cells) == ["Op0", "Op1", "Op2", "3 others", "all"]
    assert list(table.columns[3].cells) == ["28.6%", "23.8%", "19.0%", "28.6%", "100.0%"]

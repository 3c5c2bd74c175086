"""`onnxmesh split`: a model as files."""

from __future__ import annotations

import json

import pytest

from tests.fakes.command_line import run
from tests.zoo import ZOO, zoo_model
from tests.zoo.external_model import linked_as_in_a_cache
from tests.zoo.zoo_model import node


@pytest.mark.parametrize("stages", [1, 3])
def test_split_writes_partitions_that_verify_finds_equal(tmp_path, stages):
    """As text and as JSON."""
    model = ZOO["branching_cnn"].build(tmp_path)
    done = run("split", model, "--stages", stages, "--out", tmp_path / "cut", "--json")
    assert done.exit_code == 0, done.stderr
    assert len(json.loads(done.stdout)["partitions"]) == stages
    assert "equal bit for bit" in run("verify", tmp_path / "cut", model).stdout
    report = json.loads(run("verify", tmp_path / "cut", model, "--json").stdout)
    assert report["equal"]
    assert report["num_stages"] == stages


@pytest.mark.parametrize("mode", ["exact", "portable"])
def test_split_and_verify_follow_the_links_of_a_cache(tmp_path, mode):
    """As Hugging Face lays it out; the partitions have weights of their own."""
    model = linked_as_in_a_cache(tmp_path / "cache")
    done = run("split", model, "--stages", 2, "--mode", mode, "--out", tmp_path / "cut")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "cut" / "stage-0" / "model.onnx").is_file()
    verified = run("verify", tmp_path / "cut", model, "--json")
    assert (verified.exit_code, json.loads(verified.stdout)["accepted"]) == (0, True), verified.stderr


def test_split_in_portable_mode_records_the_difference_that_verify_accepts(tmp_path):
    """In the table and in plan.json; a lower tolerance fails."""
    model = ZOO["encoder"].build(tmp_path)
    done = run("split", model, "--stages", 2, "--mode", "portable", "--out", tmp_path / "cut")
    assert done.exit_code == 0, done.stderr
    assert "portable, within" in done.stdout
    plan = json.loads((tmp_path / "cut" / "plan.json").read_text())
    assert 0 < plan["largest_difference"] < plan["accepted_difference"] == 1e-4
    verified = run("verify", tmp_path / "cut", model, "--inputs", 1)
    assert (verified.exit_code, "within the tolerance of 0.0001" in verified.stdout) == (0, True)
    strict = run("verify", tmp_path / "cut", model, "--inputs", 1, "--tolerance", 0)
    assert (strict.exit_code, "beyond the tolerance of 0" in strict.stdout) == (1, True)


@pytest.mark.parametrize("mode", ["exact", "portable"])
def test_split_names_the_invalid_node_of_a_graph(tmp_path, mode):
    """A cycle or an unknown operator: exit code 2, one line that names a node, no output left."""
    cycle = [node("Add", ["x", "b"], ["a"], name="first"), node("Neg", ["a"], ["b"], name="second")]
    unknown = [node("Tanh", ["x"], ["a"]), node("Odd", ["a"], ["b"], domain="com.example", name="odd_one")]
    opsets = {"": 20, "com.example": 1}
    for nodes, words in [(cycle, "node 'second' (Neg)"), (unknown, "node 'odd_one' (com.example.Odd)")]:
        made = zoo_model.model(nodes, [zoo_model.floats("x", 1)], [zoo_model.floats("b", 1)], opsets=opsets)
        (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
        result = run("split", tmp_path / "m.onnx", "--stages", 2, "--out", tmp_path / "cut", "--mode", mode)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr
        assert result.stderr.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_split_refuses_files_and_folders_that_it_cannot_use(tmp_path):
    """A file that is not ONNX, more stages than nodes, a folder with something in it: exit code 2 each."""
    model = ZOO["mlp"].build(tmp_path)
    (tmp_path / "text.onnx").write_text("hello, this is no model")
    for arguments, words in [
        (["text.onnx", "--out", "new"], "not an ONNX model"),
        (["text.onnx", "--stages", "0", "--out", "new"], "expected a positive number"),
        ([model, "--stages", "500", "--out", "new"], "at most"),
        ([model, "--out", "."], "not an empty folder"),
    ]:
        resolved = [tmp_path / word if word in {"text.onnx", "new", "."} else word for word in arguments]
        result = run("split", *resolved)
        assert (result.exit_code, words in result.stderr) == (2, True), result.stderr

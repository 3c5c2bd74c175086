"""Partitions on disk."""

from __future__ import annotations

import os
import subprocess
import sys

import onnx
import pytest

from onnxmesh.errors import InvalidPlan
from onnxmesh.files.digests import describe_file, listing_digest
from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.ids import Digest
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand
from onnxmesh.planning.planner import make_plan
from tests.zoo import ZOO

PROVENANCE = Provenance(Digest("ab" * 32), "extended", "onnxmesh 1.2.3")


@pytest.fixture
def optimised(tmp_path):
    def get(name, folder="work"):
        source = ZOO[name].build(tmp_path)
        return optimise(source, tmp_path / folder, OptimisationLevel.EXTENDED)

    return get


def test_partition_metadata_names_its_origin(optimised, tmp_path):
    """Source, nodes, place in the chain and tool are in the model's metadata."""
    cut_model(optimised("mlp"), [2, 4], tmp_path / "out", PROVENANCE)
    model = onnx.load(tmp_path / "out" / "stage-1" / "model.onnx")
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "onnxmesh.source": "ab" * 32,
        "onnxmesh.mode": "exact",
        "onnxmesh.optimisation": "extended",
        "onnxmesh.nodes": "[2, 4)",
        "onnxmesh.stage": "1 of 3",
        "onnxmesh.tool": "onnxmesh 1.2.3",
    }


def test_partition_describes_its_files(optimised, tmp_path):
    """Each file has the digest and size that the partition states; the partition's own is over them."""
    for partition in cut_model(optimised("branching_cnn"), [5], tmp_path / "out", PROVENANCE):
        home = tmp_path / "out" / f"stage-{partition.index}"
        assert {path.name for path in home.iterdir()} == {file.path for file in partition.files}
        assert all(describe_file(home, file.path) == file for file in partition.files)
        assert partition.digest == listing_digest(partition.files)
        assert partition.files[0].path == "model.onnx"


@pytest.mark.parametrize("name", ["mlp", "if_loop", "functions", "strings", "quantised"])
def test_partition_digests_are_deterministic(optimised, tmp_path, name):
    """The same model gives the same digests in another folder and in a new process with another hash seed."""
    first = cut_model(optimised(name), [2], tmp_path / "one", PROVENANCE)
    again = cut_model(optimised(name, "elsewhere"), [2], tmp_path / "deep" / "two", PROVENANCE)
    assert again == first
    program = (
        "import sys; from pathlib import Path\n"
        "from onnxmesh.graph.cutting.cut_model import Provenance, cut_model\n"
        "from onnxmesh.graph.reading.optimise import optimise\n"
        "from onnxmesh.model.optimisation_level import OptimisationLevel\n"
        "source, out = Path(sys.argv[1]), Path(sys.argv[2])\n"
        "optimised = optimise(source, out / 'work', OptimisationLevel.EXTENDED)\n"
        "parts = cut_model(optimised, [2], out / 'parts', Provenance('ab' * 32, 'extended', 'onnxmesh 1.2.3'))\n"
        "print(*(part.digest for part in parts))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / f"{name}.onnx"), str(tmp_path / "process")]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == [partition.digest for partition in first]


def test_large_weights_are_in_a_file_of_their_own(optimised, tmp_path):
    """Both parts of ResNet-50 have a file of weights, aligned to pages."""
    path = optimised("resnet50")
    profile = analyse_graph(path)
    plan = make_plan(profile, Cluster((DeviceKind("worker", 2),)), Demand(num_stages=2))
    partitions = cut_model(path, plan.cuts, tmp_path / "out", PROVENANCE)
    names = [[file.path for file in partition.files] for partition in partitions]
    assert names == [["model.onnx", "model.weights"]] * 2
    assert sum(partition.weight_bytes for partition in partitions) == pytest.approx(102e6, rel=0.02)
    model = onnx.load(tmp_path / "out" / "stage-1" / "model.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        assert not entries or entries["location"] == "model.weights"
        assert int(entries.get("offset", 0)) % 4096 == 0


@pytest.mark.parametrize("cuts", [[0], [-1], [3, 3], [4, 2], [6], [1000]])
def test_cut_refuses_positions_out_of_range_or_order(optimised, tmp_path, cuts):
    """Out of range and out of order are refused, and nothing is written."""
    path = optimised("mlp")
    with pytest.raises(InvalidPlan, match=r"ascend|beyond"):
        cut_model(path, cuts, tmp_path / "out", PROVENANCE)
    assert not (tmp_path / "out").exists()


def test_cut_names_a_value_that_cannot_be_sent(optimised, tmp_path):
    """A cut through a sequence is refused by name, and nothing is left behind."""
    path = optimised("sequence_inside")
    with pytest.raises(InvalidPlan, match=r"cannot be cut at 2: value 'parts' of seq\(tensor\(float\)\)"):
        cut_model(path, [2], tmp_path / "out", PROVENANCE)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["sequence_inside.onnx", "work"]


def test_cut_replaces_an_earlier_result(optimised, tmp_path):
    """Cutting again into the same folder leaves no stage of before."""
    path = optimised("mlp")
    cut_model(path, [1, 2, 3], tmp_path / "out", PROVENANCE)
    cut_model(path, [2], tmp_path / "out", PROVENANCE)
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["stage-0", "stage-1"]


def test_live_out_has_all_tensors_that_later_stages_need(optimised, tmp_path):
    """Outputs made early, inputs needed late and passed-through inputs are carried to the end."""
    path = optimised("pass_through")
    first, second, third = cut_model(path, [1, 2], tmp_path / "out", PROVENANCE)
    assert [spec.name for spec in first.inputs] == ["x"]
    assert first.live_out == ("x", "early")
    assert second.live_out == ("x", "early", "middle")
    assert third.live_out == ("x", "fixed", "early", "y")
    assert [spec.name for spec in third.outputs] == ["fixed", "y"]

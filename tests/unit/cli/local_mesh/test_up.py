"""`onnxmesh up`: its options and its ready text."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxmesh.cli.local_mesh.up import list_models, names_to_deploy, num_usable_cores, parse_zones, welcome
from onnxmesh.errors import InvalidRequest
from onnxmesh.v1.mesh_pb2 import StatusResponse


def test_up_lists_the_models_of_a_folder_by_name(tmp_path):
    """Other files are ignored; a folder without a model is refused."""
    for name in ("b.onnx", "a.onnx", "a.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_models(tmp_path)] == ["a.onnx", "b.onnx"]
    (tmp_path / "empty").mkdir()
    for folder, words in [("empty", "there is no .onnx file in"), ("none", "there is no folder")]:
        with pytest.raises(InvalidRequest, match=words):
            list_models(tmp_path / folder)


def test_up_deploys_each_file_under_a_name_of_its_own():
    """A name that no model can have is changed, never to that of another file: a deploy under it would replace that model."""
    stems = ["a b", "a-b", "a+b", "模型", "語", "c" * 200, "c" * 199 + "d"]
    names = list(names_to_deploy([Path(f"{stem}.onnx") for stem in stems]).values())
    assert names == ["a-b-2", "a-b", "a-b-3", "model", "model-2", "c" * 128, "c" * 120 + "-2"]


def test_up_parses_zones():
    """Spaces around names are ignored; no text is no zone; an empty name is refused."""
    assert parse_zones(" near, far") == ("near", "far")
    assert parse_zones("  ") == ()
    with pytest.raises(InvalidRequest, match="expected names separated by commas, got 'a,,b'"):
        parse_zones("a,,b")


def test_up_uses_the_cores_of_this_process():
    """At least one."""
    assert num_usable_cores() >= 1


def test_up_prints_where_metrics_are_served():
    """In full for the first service, for the others the port; nothing without --metrics."""
    metrics = {"scheduler": "127.0.0.1:9464", "gateway": "127.0.0.1:9465", "worker-0": "127.0.0.1:9466"}
    shown = welcome(StatusResponse(), "127.0.0.1:8001", "logs", metrics)
    assert (
        "  metrics: http://127.0.0.1:9464/metrics (scheduler), :9465 (gateway), :9466 (worker-0)\n" in shown
    )
    assert "metrics" not in welcome(StatusResponse(), "127.0.0.1:8001", "logs", {})

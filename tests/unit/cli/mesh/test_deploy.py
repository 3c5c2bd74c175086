"""`onnxmesh deploy`."""

from __future__ import annotations

import pytest

from onnxmesh.v1.mesh_pb2 import DeployProgress, ModelStatus, ReplicaStatus
from onnxmesh.v1.model_pb2 import Partition, Plan
from tests.fakes.command_line import run, run_with
from tests.fakes.fake_mesh import FakeMesh


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replicas", "none"], "--replicas: expected a positive number or 'auto', got 'none'"),
        (["--replicas", "0"], "--replicas: expected a positive number or 'auto', got '0'"),
        (["--shape", "x=1,3"], "--shape: expected NAME=1x3x224x224, got 'x=1,3'"),
        (["--batch", "0"], "--batch: expected a positive number, got 0"),
        (["--max-batch", "0"], "--max-batch: expected a positive number or 'auto', got '0'"),
    ],
)
def test_deploy_checks_options_before_the_upload(arguments, words):
    """No mesh is needed for the error."""
    result = run("deploy", "none.onnx", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


def test_deploy_suggests_a_name_where_the_file_has_none(tmp_path):
    """Before anything is sent; a file that is missing comes first."""
    (tmp_path / "my model (1).onnx").write_bytes(b"\x08")
    result = run("deploy", tmp_path / "my model (1).onnx")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "the file's name 'my model (1)' is no model name" in result.stderr
    assert "such as --name my-model-1" in result.stderr
    assert (
        "--name 'a/b' is no model name"
        in run("deploy", tmp_path / "my model (1).onnx", "--name", "a/b").stderr
    )
    assert "there is no such file" in run("deploy", tmp_path / "my model (2).onnx").stderr


async def test_deploy_uploads_the_model_and_prints_each_step(tmp_path):
    """Steps are lines on standard error, the outcome is on standard output; the options are in the spec."""
    model = tmp_path / "tiny.onnx"
    model.write_bytes(b"\x08" * 10)
    held = [ReplicaStatus(stage=0, worker="a"), ReplicaStatus(stage=0, worker="b")]
    served = ModelStatus(name="m", version=3, plan=Plan(partitions=[Partition(index=0)] * 2), replicas=held)
    steps = [
        DeployProgress(phase=DeployProgress.ACCEPTED),
        DeployProgress(phase=DeployProgress.LOADING, message="2 of 4 replicas ready"),
        DeployProgress(phase=DeployProgress.READY, message="ready", model=served),
    ]
    async with FakeMesh(Deploy=steps).running() as mesh:
        done = await run_with(
            mesh,
            "deploy",
            model,
            "--name",
            "m",
            "--replicas",
            "auto",
            "--max-delay-ms",
            "1.5",
            "--percent",
            0,
        )
    assert (done.exit_code, done.stderr) == (0, "uploading tiny.onnx\n2 of 4 replicas ready\n")
    assert done.stdout == "deployed m version 3 in 2 stages: a|b → ?\n"
    spec, *upload = mesh.of("Deploy")
    assert (spec.spec.name, spec.spec.replicas, spec.spec.replicate) == ("m", 1, True)
    assert (spec.spec.traffic_percent, spec.spec.batching.max_delay_us) == (0, 1500)
    assert [message.WhichOneof("kind") for message in upload] == ["file", "data", "end"]

"""`onnxmesh scale`."""

from __future__ import annotations

import json

from onnxmesh.v1.mesh_pb2 import DeployProgress, ModelStatus
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh


def steps():
    loading = DeployProgress(phase=DeployProgress.LOADING, message="1 of 3 replicas ready")
    ready = DeployProgress(
        phase=DeployProgress.READY, message="ready", model=ModelStatus(name="m", version=1)
    )
    return [loading, ready]


async def test_scale_prints_each_step_and_the_number_of_replicas():
    """Singular and plural; JSON is the model's document."""
    for replicas, text in [(1, "1 replica"), (3, "3 replicas")]:
        async with FakeMesh(Scale=steps()).running() as mesh:
            done = await run_with(mesh, "scale", "m", replicas)
        assert (done.exit_code, done.stderr) == (0, "1 of 3 replicas ready\nready\n")
        assert done.stdout == f"m has {text} of each stage\n"
    async with FakeMesh(Scale=steps()).running() as mesh:
        document = await run_with(mesh, "scale", "m", 3, "--version", 1, "--json")
    assert json.loads(document.stdout)["name"] == "m"
    assert (mesh.of("Scale")[0].replicas, mesh.of("Scale")[0].version) == (3, 1)

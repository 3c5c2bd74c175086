"""Calls of `MeshClient`, against a gateway with given replies."""

from __future__ import annotations

import pytest

from onnxmesh.client import MeshClient
from onnxmesh.errors import InvalidModel, NotFound, Unavailable
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.v1.mesh_pb2 import DeployProgress, DrainProgress, ModelStatus, RolloutResponse, VersionTraffic
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.fakes.fake_mesh import FakeMesh


async def test_mesh_client_raises_the_error_of_the_service():
    """Of the same class, with its message."""
    async with (
        FakeMesh(Undeploy=[NotFound("unknown model 'm'")]).running() as mesh,
        MeshClient(mesh.address) as client,
    ):
        with pytest.raises(NotFound, match="unknown model 'm'"):
            await client.undeploy("m")


async def test_mesh_client_names_the_address_where_nothing_answers():
    """Port 9 has no server."""
    async with MeshClient("127.0.0.1:9") as client:
        with pytest.raises(Unavailable, match=r"no mesh answers at 127\.0\.0\.1:9"):
            await client.status()


async def test_mesh_client_deploy_reports_each_step_and_the_local_name(tmp_path):
    """In the mesh every model's file is called model.onnx; an error has the name of the caller's file."""
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"\x08")
    steps = [
        DeployProgress(phase=DeployProgress.ACCEPTED),
        DeployProgress(phase=DeployProgress.READY, model=ModelStatus(name="m", version=2)),
    ]
    seen, sent = [], []
    async with FakeMesh(Deploy=list(steps)).running() as mesh, MeshClient(mesh.address) as client:
        served = await client.deploy(path, DeploymentSpec(name="m"), seen.append, lambda *of: sent.append(of))
        assert served.version == 2
    assert (seen, sent) == (steps, [(1, 1)])
    refused = [steps[0], InvalidModel("'model.onnx' is not an ONNX model")]
    async with FakeMesh(Deploy=refused).running() as mesh, MeshClient(mesh.address) as client:
        with pytest.raises(InvalidModel, match=r"'tiny\.onnx' is not an ONNX model"):
            await client.deploy(path, DeploymentSpec(name="m"))


async def test_mesh_client_drain_returns_at_the_last_step():
    """Later messages are not read."""
    steps = [DrainProgress(stages=["m/1/0"]), DrainProgress(done=True)]
    seen = []
    async with FakeMesh(Drain=list(steps)).running() as mesh, MeshClient(mesh.address) as client:
        await client.drain("w", seen.append)
    assert seen == steps


async def test_mesh_client_rollout_and_rollback_return_the_split():
    """By version, in percent."""
    split = RolloutResponse(
        versions=[VersionTraffic(version=1, percent=60), VersionTraffic(version=2, percent=40)]
    )
    async with FakeMesh(Rollout=[split, split]).running() as mesh, MeshClient(mesh.address) as client:
        assert await client.roll_out("m", 2, 40) == {1: 60, 2: 40}
        assert await client.roll_back("m") == {1: 60, 2: 40}
    assert [(each.to, each.percent, each.back) for each in mesh.of("Rollout")] == [
        (2, 40, False),
        (0, 0, True),
    ]


async def test_mesh_client_asks_for_readiness():
    """Of the server and of one model."""
    ready, model = oip.ServerReadyResponse(ready=True), oip.ModelReadyResponse(ready=False)
    async with (
        FakeMesh(ServerReady=[ready], ModelReady=[model]).running() as mesh,
        MeshClient(mesh.address) as client,
    ):
        assert await client.server_ready()
        assert not await client.model_ready("m", "2")
    assert mesh.of("ModelReady")[0].version == "2"

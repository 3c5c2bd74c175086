"""A real mesh: `onnxmesh up` with all its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxmesh.client import LocalMesh, MeshClient
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.data_planes import ON, DataPlane
from tests.eventually import BUSY_S
from tests.fakes.command_line import run


@dataclass(frozen=True)
class MeshProcess:
    """A running mesh and the command line that calls it."""

    address: str
    local: LocalMesh
    plane: DataPlane

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one command of the CLI against this mesh, in this process: to start one takes longer than most commands."""
        done = run(*arguments, f"--mesh={self.address}")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert not check or done.exit_code == 0, f"{arguments}: {done.exit_code}\n{done.stdout}{done.stderr}"
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def deploy(self, model: Path, **spec: Any) -> ModelStatus:
        """Deploys a model with the name of its file and the batching of the data plane, unless `spec` has others."""
        defaults = {"name": model.stem, "replicas": 1, "batching": self.plane.spec()}
        deployment = DeploymentSpec(**(defaults | spec))

        async def deploy() -> ModelStatus:
            async with MeshClient(self.address) as client:
                return await client.deploy(model, deployment)

        return asyncio.run(deploy())

    def undeploy(self, name: str) -> None:
        """Takes every version of a model out of service."""

        async def undeploy() -> None:
            async with MeshClient(self.address) as client:
                await client.undeploy(name)

        asyncio.run(undeploy())

    def status(self) -> StatusResponse:
        """Returns the state of the mesh."""

        async def status() -> StatusResponse:
            async with MeshClient(self.address) as client:
                return await client.status()

        return asyncio.run(status())

    def kill(self, name: str) -> None:
        """Kills one service with SIGKILL: `worker-1`, `scheduler`, `gateway`."""
        os.kill(self.local.pids[name], signal.SIGKILL)


@contextlib.contextmanager
def running_mesh(*options: str, plane: DataPlane = ON) -> Iterator[MeshProcess]:
    """Starts a mesh with one ONNX Runtime thread per worker; afterwards stops it and checks that no process is left."""
    with LocalMesh("--threads=1", *options, environment=dict(plane.settings)) as local:
        yield MeshProcess(local.wait_ready(BUSY_S), local, plane)
    assert local.process.returncode == 0
    assert local.running_pids == []

"""A real mesh: `onnxmesh up` as a user starts it, with all its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxmesh.client import LocalMesh, MeshClient
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.data_planes import ON, DataPlane

ONNXMESH = [sys.executable, "-m", "onnxmesh.cli"]


@dataclass(frozen=True)
class MeshProcess:
    """A running mesh and the command line to talk to it."""

    address: str
    local: LocalMesh
    plane: DataPlane

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one command of the CLI against this mesh, from another process."""
        command = [*ONNXMESH, *arguments, f"--mesh={self.address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def deploy(self, model: Path, **spec: Any) -> ModelStatus:
        """Deploys a model, named after its file and batched as the data plane has it if `spec` says nothing else."""
        usual = {"name": model.stem, "replicas": 1, "batching": self.plane.spec()}
        wish = DeploymentSpec(**(usual | spec))

        async def deploy() -> ModelStatus:
            async with MeshClient(self.address) as client:
                return await client.deploy(model, wish)

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
        """Ends one service as the machine's death would: `worker-1`, `scheduler`, `gateway`."""
        os.kill(self.local.pids[name], signal.SIGKILL)


@contextlib.contextmanager
def running_mesh(*options: str, plane: DataPlane = ON) -> Iterator[MeshProcess]:
    """Starts a mesh with one ONNX Runtime thread a worker; afterwards stops it and sees that nothing is left."""
    with LocalMesh("--threads=1", *options, environment=dict(plane.settings)) as local:
        yield MeshProcess(local.wait_ready(), local, plane)
    assert local.process.returncode == 0
    assert local.running_pids == []

"""A real mesh: `onnxmesh up` as a user starts it, with all its processes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from onnxmesh.client import MeshClient
from onnxmesh.v1.mesh_pb2 import ModelStatus, StatusResponse
from onnxmesh.v1.model_pb2 import DeploymentSpec

READY = "mesh ready: gateway "
ONNXMESH = [sys.executable, "-m", "onnxmesh.cli"]


@dataclass(frozen=True)
class MeshProcess:
    """A running mesh and the command line to talk to it."""

    address: str
    supervisor: psutil.Process

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs one command of the CLI against this mesh, from another process."""
        command = [*ONNXMESH, *arguments, f"--mesh={self.address}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def deploy(self, model: Path, **spec: Any) -> ModelStatus:
        """Deploys a model, named after its file if `spec` says nothing else."""
        wish = DeploymentSpec(**({"name": model.stem, "replicas": 1} | spec))

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

    def service(self, role: str, name: str = "") -> psutil.Process:
        """Returns the process of one service: `worker`, `worker-1`."""
        for process in self.supervisor.children(recursive=True):
            words = process.cmdline()
            if f"services.{role}" in words and (not name or any(name in word for word in words)):
                return process
        raise AssertionError(f"no {role} {name} among the children of the supervisor")


@contextlib.contextmanager
def running_mesh(*options: str) -> Iterator[MeshProcess]:
    """Starts a mesh with one ONNX Runtime thread a worker; afterwards stops it and sees that nothing is left."""
    command = [*ONNXMESH, "up", "--address=127.0.0.1:0", "--threads=1", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = next((line for line in process.stdout if line.startswith(READY)), "")
            assert line, f"no ready line; exit status {process.wait(5)}"
            mesh = MeshProcess(line.removeprefix(READY).strip(), psutil.Process(process.pid))
            yield mesh
            children = mesh.supervisor.children(recursive=True)
        finally:
            process.terminate()
            process.stdout.read()
            process.wait(10)
        assert not [child for child in children if child.is_running()]

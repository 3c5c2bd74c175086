"""A mesh to measure: `onnxmesh up` as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Processes
from onnxmesh.client import LocalMesh, MeshClient
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec, Shapes


@dataclass(frozen=True, slots=True)
class Mesh:
    """A running mesh.

    Attributes:
        address: HOST:PORT of its gateway.
        processes: Its services, by their names.
    """

    address: str
    processes: Processes

    def deploy(
        self,
        path: Path,
        name: str,
        stages: int = 1,
        replicas: int = 1,
        batching: str = "auto",
        rows: int = 1,
    ) -> None:
        """Deploys a model, planned for requests of `rows` rows, and returns once it is served."""
        spec = DeploymentSpec(
            name=name,
            stages=stages,
            replicas=replicas,
            batching=Batching(mode=batching),
            shapes=Shapes(batch=rows),
        )

        async def deploy() -> None:
            async with MeshClient(self.address) as client:
                await client.deploy(path, spec)

        asyncio.run(deploy())


@contextlib.contextmanager
def running(num_workers: int, settings: Mapping[str, str] | None = None) -> Iterator[Mesh]:
    """Starts a mesh whose workers have one ONNX Runtime thread each; stops it at the end.

    Args:
        num_workers: Number of workers.
        settings: Environment variables of its services, such as ONNXMESH_SAME_HOST.
    """
    with _environment(settings or {}):
        local = LocalMesh(f"--workers={num_workers}", "--threads=1")
    with local:
        address = local.wait_ready()
        yield Mesh(address, Processes({name: [pid] for name, pid in local.pids.items()}))


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

"""A mesh to be measured: `onnxmesh up` as a user starts it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.measurement import Measurement
from benchmarks.models import BenchModel
from onnxmesh.client import LocalMesh, MeshClient
from onnxmesh.v1.model_pb2 import Batching, DeploymentSpec


@dataclass(frozen=True, slots=True)
class Mesh:
    """A running mesh.

    Attributes:
        address: HOST:PORT of its gateway.
        process: The supervisor; the services are its children.
    """

    address: str
    process: psutil.Process

    def deploy(self, path: Path, name: str, stages: int, replicas: int, batching: str) -> None:
        """Deploys a model and returns once it is served."""
        wish = DeploymentSpec(name=name, stages=stages, replicas=replicas, batching=Batching(mode=batching))

        async def deploy() -> None:
            async with MeshClient(self.address) as client:
                await client.deploy(path, wish)

        asyncio.run(deploy())

    def cpu_s(self) -> float:
        """CPU seconds that the services have used so far."""
        used = (service.cpu_times() for service in self.process.children(recursive=True))
        return sum(times.user + times.system for times in used)

    def measure(
        self, model: BenchModel, name: str, in_flight: int, seconds: float, num_runs: int
    ) -> tuple[Measurement, dict[str, float]]:
        """Returns latency and throughput of a deployed model, and the CPU that a request cost."""
        command = [sys.executable, "-m", "benchmarks.load", f"--mesh={self.address}", f"--model={name}"]
        command += [f"--input={model.input_name}", "--shape", *map(str, model.shape)]
        command += [f"--in-flight={in_flight}", f"--seconds={seconds}", f"--runs={num_runs}"]
        before = self.cpu_s()
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        spent = self.cpu_s() - before
        runs = [json.loads(line) for line in lines]
        num_requests = sum(run["num_requests"] for run in runs)
        cpu = {
            "services_us": spent / num_requests * 1e6,
            "client_us": sum(run["client_cpu_s"] for run in runs) / num_requests * 1e6,
        }
        return Measurement.of([run["latencies"] for run in runs], seconds), cpu


@contextlib.contextmanager
def running(num_workers: int) -> Iterator[Mesh]:
    """Starts a mesh of `num_workers` workers of one ONNX Runtime thread each; stops it at the end."""
    with LocalMesh(f"--workers={num_workers}", "--threads=1") as local:
        yield Mesh(local.wait_ready(), psutil.Process(local.process.pid))

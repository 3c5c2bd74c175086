"""A mesh to be measured: `onnxmesh up` as a user starts it."""

from __future__ import annotations

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

READY = "mesh ready: gateway "
CLI = [sys.executable, "-m", "onnxmesh.cli"]


@dataclass(frozen=True, slots=True)
class Mesh:
    """A running mesh.

    Attributes:
        address: HOST:PORT of its gateway.
        process: The supervisor; the services are its children.
    """

    address: str
    process: psutil.Process

    def deploy(self, path: Path, name: str, stages: int, replicas: int) -> None:
        """Deploys a model and returns once it is served."""
        options = [f"--name={name}", f"--stages={stages}", f"--replicas={replicas}", f"--mesh={self.address}"]
        subprocess.run([*CLI, "deploy", str(path), *options], check=True, stdout=subprocess.DEVNULL)

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
        total = sum(len(run["latencies"]) for run in runs)
        # The warm-ups' requests cost CPU too: count them at the measured rate.
        total_with_warm_up = total * (1 + 0.5 / seconds)
        cpu = {
            "services_us": spent / total_with_warm_up * 1e6,
            "client_us": sum(run["client_cpu_s"] for run in runs) / total_with_warm_up * 1e6,
        }
        return Measurement.of([run["latencies"] for run in runs], seconds), cpu


@contextlib.contextmanager
def running(num_workers: int) -> Iterator[Mesh]:
    """Starts a mesh of `num_workers` workers of one ONNX Runtime thread each; stops it at the end."""
    command = [*CLI, "up", f"--workers={num_workers}", "--threads=1", "--address=127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(READY):
                    yield Mesh(line.removeprefix(READY).strip(), psutil.Process(process.pid))
                    return
            raise SystemExit(f"the mesh did not start: exit status {process.wait()}")
        finally:
            process.terminate()
            process.stdout.read()

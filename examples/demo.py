"""Cuts a trained model over two workers, classifies real files through the mesh, and compares the outputs bit for bit.

`make demo` runs it. It starts `onnxmesh up` (gateway, scheduler and two workers, each a process on a free
loopback port), deploys magika's file-type model in two stages with `onnxmesh deploy`, sends files through the
gateway with tritonclient, and runs each one on the uncut model in ONNX Runtime as well. It exits with 0 if every output
is equal bit for bit and no process is left, with 1 otherwise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import tritonclient.grpc as triton
from rich.console import Console
from rich.table import Table

from examples.magika_features import FileTypeModel, Verdict
from examples.sample_files import sample_files
from onnxmesh.client import LocalMesh, RouteTrace

MODEL, INPUT, OUTPUT = "magika", "bytes", "target_label"
NUM_STAGES = NUM_WORKERS = 2
LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclass(frozen=True)
class Classified:
    """The result of one file."""

    name: str
    verdict: Verdict
    latency_ms: float
    route: RouteTrace
    equal: bool


def main() -> int:
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    model = FileTypeModel.installed()
    console.print(f"starting a mesh: a gateway, a scheduler and {NUM_WORKERS} workers, each a process …")
    with LocalMesh("--workers", str(NUM_WORKERS), "--threads", "1") as mesh:
        address = mesh.wait_ready()
        console.print(
            f"the gateway is ready at {address}; deploying magika's trained model in {NUM_STAGES} stages …"
        )
        deployed = deploy(model.path, address)
        for stage in deployed["stages"]:
            where = ", ".join(replica["worker"] for replica in stage["replicas"])
            size = f"{stage['num_nodes']} nodes, {stage['weight_bytes'] / 1e6:.2f} MB of weights"
            console.print(f"  stage {stage['stage']}: {size}, on {where}")
        whole = whole_model(model.path, deployed["optimisation"])
        with tempfile.TemporaryDirectory() as folder:
            results = classify_all(model, address, whole, Path(folder))
        console.print(table_of(results))
        stop_s = mesh.stop()
    left = mesh.running_pids
    num_equal = sum(result.equal for result in results)
    workers = {hop.worker for result in results for hop in result.route.hops}
    console.print(
        f"{num_equal} of {len(results)} outputs equal those of the uncut model bit for bit "
        f"(ONNX Runtime in process, optimisation '{deployed['optimisation']}')"
    )
    console.print(
        f"median latency {median(result.latency_ms for result in results):.2f} ms over {len(workers)} workers"
    )
    console.print(
        f"mesh stopped in {stop_s:.1f} s, exit code {mesh.process.returncode}, {len(left)} processes left"
    )
    good = (
        num_equal == len(results)
        and not left
        and mesh.process.returncode == 0
        and len(workers) == NUM_WORKERS
    )
    return 0 if good else 1


def deploy(path: Path, address: str) -> dict[str, Any]:
    """Deploys with the command line, as a person would; returns its JSON."""
    command = [sys.executable, "-m", "onnxmesh.cli", "deploy", str(path), "--name", MODEL]
    options = ["--stages", str(NUM_STAGES), "--mesh", address, "--json"]
    done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit("the model could not be deployed")  # the command has printed the error
    deployed: dict[str, Any] = json.loads(done.stdout)
    return deployed


def whole_model(path: Path, level: str) -> onnxruntime.InferenceSession:
    """Loads the uncut model at the optimisation level of the plan."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = LEVELS[level]
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def classify_all(
    model: FileTypeModel, address: str, whole: onnxruntime.InferenceSession, folder: Path
) -> list[Classified]:
    results = []
    with triton.InferenceServerClient(address) as client:
        for name, path in sample_files(folder, model.path):
            tokens = model.features(path)
            if tokens is not None:
                results.append(classify(model, client, whole, name, tokens))
    return results


def classify(
    model: FileTypeModel,
    client: triton.InferenceServerClient,
    whole: onnxruntime.InferenceSession,
    name: str,
    tokens: npt.NDArray[np.int32],
) -> Classified:
    """Runs one file through the mesh, and on the uncut model in this process."""
    tensor = triton.InferInput(INPUT, list(tokens.shape), "INT32")
    tensor.set_data_from_numpy(tokens)
    start_s = perf_counter()
    result = client.infer(MODEL, [tensor], parameters={"mesh.trace": True}, client_timeout=30)
    latency_ms = (perf_counter() - start_s) * 1e3
    scores = result.as_numpy(OUTPUT)
    expected = whole.run([OUTPUT], {INPUT: tokens})[0]
    equal = scores.dtype == expected.dtype and scores.shape == expected.shape
    return Classified(
        name=name,
        verdict=model.verdict(scores),
        latency_ms=latency_ms,
        route=RouteTrace.from_json(result.get_response().parameters["mesh.trace"].string_param),
        equal=equal and scores.tobytes() == expected.tobytes(),
    )


def table_of(results: list[Classified]) -> Table:
    table = Table("input", "label", title="Files through the mesh (µs on the wire + in queue + in compute)")
    for column in ("confidence", "latency ms"):
        table.add_column(column, justify="right")
    for stage in range(NUM_STAGES):
        table.add_column(f"stage {stage}")
    table.add_column("bit-equal")
    for result in results:
        hops = [
            f"{hop.worker} {hop.wire_us:.0f}+{hop.queue_us:.0f}+{hop.compute_us:.0f}"
            for hop in result.route.hops
        ]
        table.add_row(
            result.name,
            result.verdict.label,
            f"{result.verdict.confidence:.1%}",
            f"{result.latency_ms:.2f}",
            *hops,
            "yes" if result.equal else "[bold red]NO[/bold red]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

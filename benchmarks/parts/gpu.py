"""Batches of 32 on a GPU: the mesh against ONNX Runtime with CUDA in process."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.models import ENCODER_32, RESNET50_32
from benchmarks.targets import by_throughput, missing_result
from onnxmesh.device.gpu import find_gpu
from onnxmesh.errors import Unsatisfiable

IN_FLIGHT = 4
MODELS = (("gpu-resnet50", RESNET50_32), ("gpu-encoder", ENCODER_32))


def why_no_gpu() -> str:
    """Returns why there is no GPU to measure; empty if there is one."""
    try:
        find_gpu("cuda")
    except Unsatisfiable as error:
        return error.message
    return ""


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display."""
    return 0 if why_no_gpu() else len(MODELS) * (2 + bench.num_steps(2))


def measure(bench: Bench) -> None:
    """Measures each model through a mesh of one worker, in turns with CUDA in process."""
    if why := why_no_gpu():
        bench.outcome.results += [missing_result(key, why) for key, _ in MODELS]
        return
    for key, bench_model in MODELS:
        model = bench_model.built(bench.folder)
        with bench.mesh(1) as it:
            bench.display.step("deploying")
            it.deploy(model.path, model.name, batching="off")
            with bench.client(it, model) as ours, bench.limit(model, 1, "cuda") as alone:
                of_ours, of_alone = bench.compare(model.name, [ours, alone], IN_FLIGHT)
        bench.outcome.results.append(by_throughput(key, of_ours, of_alone))

"""Batches of 32 on a GPU: the mesh against ONNX Runtime with CUDA in process."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import by_throughput, missing
from benchmarks.models import ENCODER_32, RESNET50_32
from onnxmesh.device.gpu import find_gpu
from onnxmesh.errors import Unsatisfiable

IN_FLIGHT = 4
MODELS = (("gpu-resnet50", RESNET50_32), ("gpu-encoder", ENCODER_32))


def lack() -> str:
    """Returns why nothing can be measured on a GPU here; empty if it can."""
    try:
        find_gpu("cuda")
    except Unsatisfiable as error:
        return error.message
    return ""


def num_steps(bench: Bench) -> int:
    """Returns how many steps the display will see."""
    return 0 if lack() else len(MODELS) * (2 + bench.num_steps(2))


def measure(bench: Bench) -> None:
    """Measures each model through a mesh of one worker, in turns with CUDA in process."""
    if why := lack():
        bench.outcome.figures += [missing(key, why) for key, _ in MODELS]
        return
    for key, bench_model in MODELS:
        model = bench_model.built(bench.folder)
        with bench.mesh(1) as it:
            bench.board.step("deploying")
            it.deploy(model.path, model.name, batching="off")
            with bench.client(it, model) as ours, bench.limit(model, 1, "cuda") as alone:
                of_ours, of_alone = bench.compare(model.name, [ours, alone], IN_FLIGHT)
        bench.outcome.figures.append(by_throughput(key, of_ours, of_alone))

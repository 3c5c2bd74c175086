"""10 MB from stage to stage on one host: the latency that the cut adds to a single request."""

from __future__ import annotations

from benchmarks.bench import OURS, Bench
from benchmarks.models import WIDE_MODEL
from benchmarks.targets import by_added_p50

TRANSPORTS = (("hop-memory", "shared memory", {}), ("hop-stream", "stream", {"ONNXMESH_SAME_HOST": "false"}))


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display."""
    return len(TRANSPORTS) * (2 + bench.num_steps(2))


def measure(bench: Bench) -> None:
    """Measures the model in two stages, in turns with one stage, through shared memory and through a stream."""
    model = WIDE_MODEL.built(bench.folder)
    for key, transport, settings in TRANSPORTS:
        with bench.mesh(2, settings) as it:
            bench.display.step("deploying")
            it.deploy(model.path, "wide-1", batching="off")
            it.deploy(model.path, "wide-2", stages=2, batching="off")
            with (
                bench.client(it, model, "wide-2", called=f"{OURS}, 2 stages, {transport}") as cut,
                bench.client(it, model, "wide-1", called=f"{OURS}, 1 stage, {transport}") as whole,
            ):
                of_cut, of_whole = bench.compare(model.name, [cut, whole], 1)
        bench.outcome.results.append(by_added_p50(key, of_cut, of_whole))

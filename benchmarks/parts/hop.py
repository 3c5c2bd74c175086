"""10 MB from stage to stage on one host: what the cut adds to a request that is alone."""

from __future__ import annotations

from benchmarks.bench import OURS, Bench
from benchmarks.figures import by_added_p50
from benchmarks.models import WIDE_MODEL

WAYS = (("hop-memory", "shared memory", {}), ("hop-stream", "stream", {"ONNXMESH_SAME_HOST": "false"}))


def num_steps(bench: Bench) -> int:
    """Returns how many steps the display will see."""
    return len(WAYS) * (2 + bench.num_steps(2))


def measure(bench: Bench) -> None:
    """Measures the model in two stages, in turns with the same in one, through shared memory and by stream."""
    model = WIDE_MODEL.built(bench.folder)
    for key, way, settings in WAYS:
        with bench.mesh(2, settings) as it:
            bench.board.step("deploying")
            it.deploy(model.path, "wide-1", batching="off")
            it.deploy(model.path, "wide-2", stages=2, batching="off")
            with (
                bench.client(it, model, "wide-2", called=f"{OURS}, 2 stages, {way}") as cut,
                bench.client(it, model, "wide-1", called=f"{OURS}, 1 stage, {way}") as whole,
            ):
                of_cut, of_whole = bench.compare(model.name, [cut, whole], 1)
        bench.outcome.figures.append(by_added_p50(key, of_cut, of_whole))

"""A single request with many rows: two stages with micro-batches against two stages one after the other."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.bench import OURS, Bench
from benchmarks.models import CONVOLUTIONS, PIPELINE_ROWS
from benchmarks.targets import by_p50

SIDES = (("micro-batches", "true"), ("no micro-batches", "false"))


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display."""
    return 2 * len(SIDES) + bench.num_steps(len(SIDES))


def measure(bench: Bench) -> None:
    """Measures two meshes of two workers in turns, whose gateways split requests into micro-batches or do not."""
    model = CONVOLUTIONS.built(bench.folder)
    sides = []
    with ExitStack() as stack:
        for what, is_on in SIDES:
            it = stack.enter_context(bench.mesh(2, {"ONNXMESH_MICRO_BATCHES": is_on}))
            bench.display.step("deploying")
            it.deploy(model.path, model.name, stages=2, rows=PIPELINE_ROWS)
            sides.append(stack.enter_context(bench.client(it, model, called=f"{OURS}, {what}")))
        # A request takes a tenth of a second: short runs would count few.
        cut, whole = bench.compare(model.name, sides, 1, 2 * bench.settings.seconds)
    bench.outcome.results.append(by_p50("pipeline", cut, whole))

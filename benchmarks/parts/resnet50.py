"""A model with much computing: throughput of the mesh relative to ONNX Runtime on the same cores."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.bench import OURS, Bench
from benchmarks.models import RESNET50
from benchmarks.targets import by_throughput

IN_FLIGHT = 8
LAYOUTS = ((1, 2), (2, 1), (3, 1))
"""Stages and replicas, on three workers of one thread."""


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display."""
    return 1 + len(LAYOUTS) + bench.num_steps(1 + len(LAYOUTS))


def measure(bench: Bench) -> None:
    """Measures two replicas and two and three stages, in turns with two bare threads."""
    model = RESNET50.built(bench.folder)
    with bench.mesh(3) as it, ExitStack() as stack:
        sides = [stack.enter_context(bench.limit(model, 2))]
        for stages, replicas in LAYOUTS:
            what = f"{stages} stages" if stages > 1 else f"{replicas} replicas"
            name = f"{model.name}-{stages}x{replicas}"
            bench.display.step(f"deploying {what}")
            it.deploy(model.path, name, stages, replicas)
            sides.append(stack.enter_context(bench.client(it, model, name, called=f"{OURS}, {what}")))
        # A request takes tens of milliseconds: short runs would count few.
        limit, replicated, two, three = bench.compare(
            model.name, sides, IN_FLIGHT, 2 * bench.settings.seconds
        )
    bench.outcome.results += [
        by_throughput("resnet50-replicas", replicated, limit),
        by_throughput("resnet50-2-stages", two, limit),
        by_throughput("resnet50-3-stages", three, two),
    ]

"""A small model whose requests gain from running together, whole and in two stages."""

from __future__ import annotations

from benchmarks.bench import OURS, Bench, Duel
from benchmarks.models import MLP, mlp_halves
from benchmarks.rivals.kserve import KServe
from benchmarks.rivals.mlserver import MLServer
from benchmarks.rivals.ray import Ray
from benchmarks.rivals.triton import Triton
from benchmarks.targets import by_throughput

BATCHED = Duel("mlp-batching", 64, by_throughput)
CUT = Duel("mlp-2-stages", 32, by_throughput)
_TWO_STAGES = "mlp-2-stages"


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display, with every rival."""
    return 2 + 4 + 2 * bench.num_steps(2) + 6 * len(bench.settings.loads)


def measure(bench: Bench) -> None:
    """Measures batching against Triton's, and two stages against Ray Serve's two deployments."""
    model = MLP.built(bench.folder)
    halves = mlp_halves(bench.folder)
    with bench.mesh(2) as it:
        bench.display.step("deploying")
        it.deploy(model.path, model.name, batching="on")
        it.deploy(model.path, _TWO_STAGES, stages=2, batching="on")
        with (
            bench.client(it, model, called=f"{OURS}, batching") as whole,
            bench.client(it, model, _TWO_STAGES, called=f"{OURS}, 2 stages") as cut,
        ):
            bench.curve(model.name, whole)
            bench.curve(model.name, cut)
            bench.against(whole, Triton(batching=True), model, [BATCHED])
            bench.against(cut, Ray(halves), model, [CUT])
            for rival in (KServe(), MLServer()):
                bench.against(whole, rival, model)

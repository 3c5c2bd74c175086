"""A model that computes nothing: measures the server."""

from __future__ import annotations

from benchmarks.bench import Bench, Duel
from benchmarks.models import IDENTITY
from benchmarks.rivals.kserve import KServe
from benchmarks.rivals.mlserver import MLServer
from benchmarks.rivals.ray import Ray
from benchmarks.rivals.rival import Rival
from benchmarks.rivals.triton import Triton
from benchmarks.targets import by_cpu, by_p50, by_throughput

IN_FLIGHT = 32
DUELS: tuple[tuple[Rival, tuple[Duel, ...]], ...] = (
    (Triton(), (Duel("identity-p50", 1, by_p50), Duel("identity-triton", IN_FLIGHT, by_throughput))),
    (KServe(), (Duel("identity-kserve", IN_FLIGHT, by_throughput),)),
    (MLServer(), (Duel("identity-mlserver", IN_FLIGHT, by_throughput),)),
    (Ray(), (Duel("identity-ray", IN_FLIGHT, by_throughput),)),
)


def num_steps(bench: Bench) -> int:
    """Returns the number of steps in the progress display, with every rival."""
    num_duels = 1 + sum(len(duels) for _, duels in DUELS)
    num_curves = 1 + len(DUELS)
    return 2 + len(DUELS) + num_duels * bench.num_steps(2) + num_curves * len(bench.settings.loads)


def measure(bench: Bench) -> None:
    """Measures CPU per request, and the mesh against each rival."""
    model = IDENTITY.built(bench.folder)
    with bench.mesh(1) as it:
        bench.display.step("deploying")
        it.deploy(model.path, model.name)
        with bench.client(it, model) as ours, bench.limit(model, 1) as alone:
            of_ours, of_alone = bench.compare(model.name, [ours, alone], IN_FLIGHT)
            model_us = sum(run.client_us for run in of_alone) / len(of_alone)
            on_path = sorted(name for name in it.processes.names if name != "scheduler")
            bench.outcome.results.append(by_cpu("cpu", of_ours, on_path, model_us))
            bench.curve(model.name, ours)
            for rival, duels in DUELS:
                bench.against(ours, rival, model, duels)

"""The planner's cut into two stages against every legal cut, measured on two one-thread processes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.plan.stage_processes import StageProcesses
from benchmarks.plan.subjects import Subject
from onnxmesh.model.device_speed import PICOSECONDS

FINALISTS = 4
"""Best cuts of the first pass, measured again together with the planned ones: the minimum of many noisy measurements
is too low."""
ROUNDS = 15


@dataclass(frozen=True, slots=True)
class MeasuredCut:
    """One cut into two stages.

    Attributes:
        what: Origin of the cut.
        position: Node at which stage 1 starts.
        predicted_s: Predicted time of the slower stage, transfer included; None: not planned.
        stages_s: Measured time of each stage while both run, its predicted transfer included.
    """

    what: str
    position: int
    predicted_s: float | None
    stages_s: tuple[float, ...]

    @property
    def period_s(self) -> float:
        """Time of the slower stage."""
        return max(self.stages_s)


@dataclass(frozen=True, slots=True)
class EveryCut:
    """The measured cuts.

    Attributes:
        num_cuts: Number of measured cuts.
        cuts: Best measured, planned from the profile, planned from estimates, uniform by number of nodes.
    """

    num_cuts: int
    cuts: tuple[MeasuredCut, ...]


def measure_every_cut(subject: Subject, seconds: float, step: int, advance: Callable[[], None]) -> EveryCut:
    """Measures every `step`-th legal cut, then the best and the planned ones again.

    Args:
        subject: The model.
        seconds: Length of each run.
        step: 1 for all cuts.
        advance: Called after each cut.
    """
    planned = {
        "planned from the profile": subject.plan(2, measured=True),
        "planned from estimates": subject.plan(2, measured=False),
    }
    positions = {what: plan.cuts[0] for what, plan in planned.items()}
    middle = len(subject.costs.nodes) // 2
    positions["uniform by node count"] = min(subject.costs.legal_cuts, key=lambda at: abs(at - middle))
    with StageProcesses(2) as processes:
        first: dict[int, float] = {}
        for position in subject.costs.legal_cuts[::step]:
            first[position] = max(_run(subject, processes, position, seconds))
            advance()
        finalists = sorted(first, key=first.__getitem__)[:FINALISTS]
        again: dict[int, list[Sequence[float]]] = {at: [] for at in [*finalists, *positions.values()]}
        for _ in range(ROUNDS):
            for position, rounds in again.items():
                rounds.append(_run(subject, processes, position, seconds))
    medians = {
        position: tuple(statistics.median(stage) for stage in zip(*rounds, strict=True))
        for position, rounds in again.items()
    }
    positions = {"best measured": min(medians, key=lambda at: max(medians[at]))} | positions
    cuts = (
        MeasuredCut(what, position, planned[what].period_s if what in planned else None, medians[position])
        for what, position in positions.items()
    )
    return EveryCut(len(first), tuple(cuts))


def _run(subject: Subject, processes: StageProcesses, position: int, seconds: float) -> tuple[float, ...]:
    folder, partitions = subject.cut([position])
    processes.load(folder, partitions, subject.feeds)
    crossing = subject.costs.boundaries[position - 1].num_bytes
    link = subject.cluster(2).link(subject.kind.name, subject.kind.name)
    before, after = processes.run(seconds)
    return before + link.transfer_ps(crossing) / PICOSECONDS, after

"""Predicted time and memory of each stage against what a process measures."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.plan.stage_processes import StageProcesses
from benchmarks.plan.subjects import Subject
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.node_times import node_times

ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Prediction:
    """One stage, alone on the machine.

    Attributes:
        model: Its model.
        num_stages: In how many it was cut.
        stage: Which.
        measured_s: Time of a run: median of each round, the least disturbed round.
        from_profile_s: As predicted from a profile of the whole.
        from_estimates_s: As predicted from operations, bytes and the device's speed.
        measured_bytes: By how much the memory of a process grew.
        predicted_bytes: What the planner reckons with.
    """

    model: str
    num_stages: int
    stage: int
    measured_s: float
    from_profile_s: float
    from_estimates_s: float
    measured_bytes: int
    predicted_bytes: int


def predictions(subject: Subject, num_stages: int, seconds: float) -> list[Prediction]:
    """Measures each stage of the planned cut, one after another on an idle machine."""
    plan = subject.plan(num_stages, measured=True)
    folder, partitions = subject.cut(plan.cuts)
    from_profile = node_times(subject.costs, subject.kind, subject.profile)
    from_estimates = node_times(subject.costs, subject.kind)
    with StageProcesses(num_stages) as processes:
        memory = processes.load(folder, partitions, subject.feeds)
        measured = [
            min(processes.run_alone(index, seconds) for _ in range(ROUNDS)) for index in range(num_stages)
        ]
    return [
        Prediction(
            subject.name,
            num_stages,
            index,
            measured[index],
            sum(from_profile[stage.start : stage.end]) / PICOSECONDS,
            sum(from_estimates[stage.start : stage.end]) / PICOSECONDS,
            memory[index],
            stage.peak_bytes,
        )
        for index, stage in enumerate(plan.stages)
    ]

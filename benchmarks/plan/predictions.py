"""Predicted time and memory of each stage against measurements in a process."""

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
        model: Name of the model.
        num_stages: Number of stages.
        stage: Index of the stage.
        measured_s: Time of a run: median of each round, the least disturbed round.
        from_profile_s: Predicted from a profile of the whole model.
        from_estimates_s: Predicted from operations, bytes and the device's speed.
        measured_bytes: Growth of the memory of the process.
        predicted_bytes: Predicted memory.
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

"""The plan message: what was planned and cut, as it is saved and shown. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import CorruptData, InvalidPlan
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.plan import StagePlan
from onnxmesh.quantities import count_text
from onnxmesh.store.artefact import check_artefact
from onnxmesh.v1.model_pb2 import Artefact, Batching, Partition, Plan, PlannedDevices, Signature
from onnxmesh.v1.worker_pb2 import CutResponse
from services.scheduler.plans.survey import Survey
from services.scheduler.workers.eligibility import Eligible

NOT_MEASURED = -1.0
"""The largest difference where none could be measured: the model accepts no random inputs."""


def plan_message(
    source: Artefact,
    eligible: Eligible,
    survey: Survey,
    cut_plan: CutPlan,
    *,
    signature: Signature,
    partitions: Sequence[Partition],
    largest_difference: float,
    batching: Batching | None = None,
) -> Plan:
    """Returns the plan with its partitions, what is predicted of each, and the worker kinds it is assigned to.

    Args:
        source: The model as it was uploaded.
        eligible: The workers that it was planned for, with mode and level.
        survey: The mesh when it was planned.
        cut_plan: The planner's result.
        signature: Of the model.
        partitions: As they were cut; they become part of the plan.
        largest_difference: Largest difference of an output from the uncut model's, `NOT_MEASURED` if unknown.
        batching: The deployment's batching spec; None: the default.
    """
    plan = Plan(
        optimisation=eligible.optimisation.value,
        source_digest=source.digest,
        signature=signature,
        partitions=partitions,
        cpu_class=eligible.cpu_class,
        mode=eligible.mode,
        largest_difference=largest_difference,
    )
    if eligible.mode is CutMode.PORTABLE:
        for partition in plan.partitions:
            partition.load_optimisation = eligible.mode.load_level.value
    if batching is not None and batching.HasField("max_delay_us"):
        for partition in plan.partitions:
            partition.batching.max_delay_us = batching.max_delay_us
    record_predictions(plan, cut_plan, survey)
    return plan


def record_predictions(plan: Plan, cut_plan: CutPlan, survey: Survey) -> None:
    """Writes into a plan what is predicted of it, and on which workers: all of a plan but its files."""
    plan.why = cut_plan.why
    plan.predicted_period_s = cut_plan.period_s
    plan.predicted_latency_s = cut_plan.latency_s
    for partition, stage in zip(plan.partitions, cut_plan.stages, strict=True):
        partition.estimated_cost = stage.compute_s + stage.transfer_s
        partition.peak_bytes = stage.peak_bytes
        del partition.devices[:]
        partition.devices.extend(_devices(stage, survey))


def checked(partitions: Sequence[Partition], cut_plan: CutPlan) -> Sequence[Partition]:
    """Returns the partitions that a worker cut, if they are those that were planned.

    Raises:
        InvalidPlan: They are others (INVALID_ARGUMENT).
        InvalidRequest, CorruptData: An artefact is invalid.
    """
    if [partition.index for partition in partitions] != list(range(len(cut_plan.stages))):
        raise InvalidPlan(
            f"the plan has {count_text(len(cut_plan.stages), 'stage')}, the worker cut {[partition.index for partition in partitions]}"
        )
    for partition, stage in zip(partitions, cut_plan.stages, strict=True):
        check_artefact(partition.artefact)
        if set(partition.direct_inputs) != set(stage.direct_inputs):
            raise InvalidPlan(
                f"stage {partition.index} was planned to get {sorted(stage.direct_inputs)} from the gateway, "
                f"the worker cut it for {sorted(partition.direct_inputs)}"
            )
    return partitions


def verifiers(cutter: Instance, survey: Survey, cut_plan: CutPlan) -> list[list[Instance]]:
    """Returns the workers that can verify a cut: those of each planned class of device but the cutting worker's."""
    planned = {name for stage in cut_plan.stages for name, _ in stage.devices}
    found: defaultdict[str, list[Instance]] = defaultdict(list)
    for kind in survey.kinds:
        if kind.device.name in planned:
            for worker in kind.workers:
                found[_device_class(worker)].append(worker)
    found.pop(_device_class(cutter), None)
    return [found[name] for name in sorted(found)]


def check_agreement(
    cutter: str, cut: CutResponse, verifier: str, other: CutResponse, difference: float
) -> float:
    """Returns the largest difference so far, if another worker cut the same partitions.

    Raises:
        CorruptData: It cut others (DATA_LOSS).
    """
    digests = [[partition.artefact.digest for partition in each.partitions] for each in (cut, other)]
    if digests[0] != digests[1]:
        raise CorruptData(
            f"workers '{cutter}' and '{verifier}' cut the model differently: "
            f"{[digest[:12] for digest in digests[0]]} and {[digest[:12] for digest in digests[1]]}"
        )
    if NOT_MEASURED in {difference, other.largest_difference}:
        return NOT_MEASURED
    return max(difference, other.largest_difference)


def _devices(stage: StagePlan, survey: Survey) -> list[PlannedDevices]:
    return [
        PlannedDevices(kind=name, count=count, workers=survey.workers_of(name))
        for name, count in stage.devices
    ]


def _device_class(worker: Instance) -> str:
    """Returns what determines the choice of a worker's kernels."""
    facts = worker.attributes
    device = facts.get("device", "cpu")
    return f"{device} {facts.get('cpu.class' if device == 'cpu' else 'gpu.model', '')}"

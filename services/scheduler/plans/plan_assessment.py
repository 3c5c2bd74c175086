"""Assessment of a plan in force on the workers there are now, and whether another is worth the change. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from onnxmesh.error_text import listed
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.node_times import node_times
from onnxmesh.model.plan import Objective
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.profile import Profile
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.plans.survey import Survey
from services.scheduler.workers.worker_kinds import kind_label, label_of_kind

LEAST_GAIN = 0.2
"""Fraction by which a new plan must be better to be worth the change."""


@dataclass(frozen=True, slots=True)
class PlanAssessment:
    """A plan in force, as of now.

    Attributes:
        gaps: Stages that no worker holds, or that are planned for kinds which left; empty: none.
        period_s: Predicted time from one answer to the next under load, where its stages are now.
        latency_s: Predicted time of one request alone.
    """

    gaps: tuple[str, ...]
    period_s: float
    latency_s: float


def cuts_of(plan: Plan) -> tuple[int, ...]:
    """Returns the positions at which a plan's stages begin, but for the first."""
    positions, position = [], 0
    for partition in plan.partitions[:-1]:
        position += partition.num_nodes
        positions.append(position)
    return tuple(positions)


def same_partitions(plan: Plan, cut_plan: CutPlan) -> bool:
    """Whether a new plan cuts as the one in force does: then the model need not be cut again."""
    direct = [set(partition.direct_inputs) for partition in plan.partitions]
    return cuts_of(plan) == cut_plan.cuts and direct == [
        set(stage.direct_inputs) for stage in cut_plan.stages
    ]


def assess_plan(
    plan: Plan,
    stages: Sequence[DesiredStage],
    holders: Mapping[StageKey, Collection[WorkerId]],
    survey: Survey,
    costs: GraphCosts,
    profile: Profile | None,
) -> PlanAssessment:
    """Assesses a plan by where its stages are held.

    A worker with several stages is busy for all of them; requests are spread evenly over replicas.

    Args:
        plan: The plan in force.
        stages: Its stages, in order.
        holders: For each stage the workers that hold it; those outside the survey do not count.
        survey: The workers that may be planned with.
        costs: The costs that the plan was made from.
        profile: The profile that it was made with.
    """
    gaps = [gap for stage in stages for gap in _gaps(stage, holders, survey)]
    kinds = {worker.id: kind for kind in survey.kinds for worker in kind.workers}
    held = [sorted(id_ for id_ in holders.get(stage.key, ()) if id_ in kinds) for stage in stages]
    if not all(held):
        return PlanAssessment(tuple(gaps), float("inf"), float("inf"))
    times = {
        kind.device.name: node_times(costs, kind.device, profile)
        for kind in {kinds[id_].device.name: kinds[id_] for ids in held for id_ in ids}.values()
    }
    busy_ps: Counter[str] = Counter()
    latency_ps = 0
    edges = (0, *cuts_of(plan), len(costs.nodes))
    for index, (start, end) in enumerate(pairwise(edges)):
        taken = []
        for id_ in held[index]:
            name = kinds[id_].device.name
            stage_ps = sum(times[name][start:end])
            if index + 1 < len(held):
                onward = survey.cluster.link(name, kinds[held[index + 1][0]].device.name)
                stage_ps += onward.transfer_ps(_crossing_bytes(costs, plan, end))
            busy_ps[id_] += stage_ps // len(held[index])
            taken.append(stage_ps)
        latency_ps += max(taken)
    return PlanAssessment(tuple(gaps), max(busy_ps.values()) / PICOSECONDS, latency_ps / PICOSECONDS)


def reason_to_replan(assessment: PlanAssessment, new: CutPlan) -> str | None:
    """Returns why the mesh should change over to a new plan; None where it should not.

    It should where the plan in force no longer fits, or the new one is predicted to be better by `LEAST_GAIN`.
    """
    if assessment.gaps:
        return "; ".join(assessment.gaps)
    if new.objective is Objective.LATENCY:
        word, old_s, new_s = "latency", assessment.latency_s, new.latency_s
    else:
        word, old_s, new_s = "time for each answer", assessment.period_s, new.period_s
    if new_s <= (1 - LEAST_GAIN) * old_s:
        return f"the predicted {word} goes from {old_s * 1e3:.3g} ms to {new_s * 1e3:.3g} ms"
    return None


def _gaps(stage: DesiredStage, holders: Mapping[StageKey, Collection[WorkerId]], survey: Survey) -> list[str]:
    """Returns what is wrong with a stage: it is not held, or no worker that it was assigned to is in the mesh."""
    name = f"stage {stage.key.rpartition('/')[2]}"
    if not holders.get(stage.key):
        return [f"{name} is held by no worker"]
    labels = {worker.id: kind_label(worker.attributes) for kind in survey.kinds for worker in kind.workers}
    if stage.homes and not any(
        home.workers & labels.keys() or label_of_kind(home.kind) in labels.values() for home in stage.homes
    ):
        kinds = listed(home.kind for home in stage.homes)
        return [f"{name} was planned for {kinds}, which left the mesh"]
    return []


def _crossing_bytes(costs: GraphCosts, plan: Plan, position: int) -> int:
    """Returns the bytes that are sent over a cut: computed tensors, and inputs that later stages read."""
    direct = {name for partition in plan.partitions for name in partition.direct_inputs}
    carried = sum(
        use.num_bytes
        for use in costs.inputs
        if use.name not in direct and use.readers and use.readers[-1] >= position
    )
    return costs.boundaries[position - 1].num_bytes + carried

"""Eligibility: which workers may run a deployment, and the mode and optimisation level that suit them all. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxmesh.discovery.instance import Instance
from onnxmesh.error_text import listed
from onnxmesh.errors import Unsatisfiable
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.routing.selectors.selector_text import lacking
from onnxmesh.v1.model_pb2 import DeploymentSpec, Plan
from services.scheduler.desired.deployment_spec import AUTO

CPU_CLASS = "cpu.class"
"""The attribute with a worker's class of CPU."""

DEVICE = "device"
"""The attribute with the device that a worker computes on: `cpu` or `cuda`."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """The workers that may run a deployment.

    Attributes:
        workers: In order of id; never empty, never fewer than the replicas of the spec.
        mode: How the model is to be cut.
        optimisation: The level to optimise the whole model at before the cut; none in mode `portable`.
        cpu_class: The class of CPU that this level ties the plan to; empty: none.
    """

    workers: tuple[Instance, ...]
    mode: CutMode
    optimisation: OptimisationLevel
    cpu_class: str = ""


def can_run(
    require: Sequence[str], cpu_class: str, tags: Iterable[str], attributes: Mapping[str, str]
) -> bool:
    """Whether a worker satisfies a deployment's requirements and is of the class its plan is tied to."""
    if lacking(require, tuple(tags), attributes):
        return False
    return not cpu_class or (attributes.get(CPU_CLASS) == cpu_class and _is_cpu(attributes))


def requirements_text(require: Sequence[str], cpu_class: str) -> str:
    """Returns requirements and CPU class as people read them: `zone=x, the CPU class 'x86'`."""
    return ", ".join([*require, *([f"the CPU class '{cpu_class}'"] if cpu_class else [])])


def eligible_workers(spec: DeploymentSpec, workers: Iterable[Instance]) -> Eligible:
    """Selects the workers for a deployment, and the mode and optimisation level that suit them.

    Args:
        spec: Normalised.
        workers: Every worker in the mesh.

    Raises:
        Unsatisfiable: There is none, or fewer than the replicas; the message names what each lacks (FAILED_PRECONDITION).
    """
    return _with_replicas(spec, _suited(spec, _matching(spec, workers)))


def narrowed(spec: DeploymentSpec, eligible: Eligible, require: Sequence[str], reason: str = "") -> Eligible:
    """Returns those of the eligible workers that meet requirements which were found in the model.

    Args:
        spec: Normalised.
        eligible: The workers that meet the spec.
        require: The selectors that were found.
        reason: What a worker without them lacks and how it is installed, for messages.

    Raises:
        Unsatisfiable: There is none, or fewer than the replicas (FAILED_PRECONDITION).
    """
    able = [each for each in eligible.workers if not lacking(require, each.tags, each.attributes)]
    if not able:
        raise Unsatisfiable(
            f"no worker satisfies {listed(require)}, which the model requires{f': {reason}' if reason else ''}"
        )
    return _with_replicas(spec, replace(eligible, workers=tuple(able)), require)


def eligible_again(spec: DeploymentSpec, plan: Plan, workers: Iterable[Instance]) -> Eligible:
    """Selects the workers for a new plan of a deployment, in the mode and at the level of its first plan.

    Args:
        spec: Normalised.
        plan: The plan in force.
        workers: Every worker in the mesh.

    Raises:
        Unsatisfiable: There is none, or fewer than the replicas; the message names what each lacks (FAILED_PRECONDITION).
    """
    able = [
        worker
        for worker in _matching(spec, workers)
        if can_run(plan.require, plan.cpu_class, worker.tags, worker.attributes)
    ]
    if not able:
        raise Unsatisfiable(
            f"no worker satisfies {requirements_text(plan.require, plan.cpu_class)}"
            if plan.require
            else f"no worker is of the CPU class '{plan.cpu_class}'"
        )
    level = OptimisationLevel(plan.optimisation)
    return _with_replicas(
        spec, Eligible(tuple(able), CutMode(plan.mode or CutMode.EXACT), level, plan.cpu_class)
    )


def _matching(spec: DeploymentSpec, workers: Iterable[Instance]) -> list[Instance]:
    everyone = sorted(workers, key=lambda worker: worker.id)
    if not everyone:
        raise Unsatisfiable("no worker has joined the mesh")
    able = [worker for worker in everyone if not lacking(spec.require, worker.tags, worker.attributes)]
    if not able:
        gaps = listed(
            (
                f"{worker.id} lacks {', '.join(lacking(spec.require, worker.tags, worker.attributes))}"
                for worker in everyone
            ),
            quoted=False,
            separator="; ",
        )
        raise Unsatisfiable(f"no worker satisfies {listed(spec.require)}: {gaps}")
    return able


def _with_replicas(spec: DeploymentSpec, found: Eligible, require: Sequence[str] = ()) -> Eligible:
    if len(found.workers) < spec.replicas:
        ids = listed((worker.id for worker in found.workers), quoted=False)
        kind = f" of the CPU class '{found.cpu_class}'" if found.cpu_class else ""
        kind += f" with {listed(require)}" if require else ""
        raise Unsatisfiable(
            f"{spec.replicas} replicas of a stage need as many workers; "
            f"{len(found.workers)}{kind} can run them: {ids}"
        )
    return found


def _suited(spec: DeploymentSpec, able: list[Instance]) -> Eligible:
    by_class: dict[str, list[Instance]] = defaultdict(list)
    for worker in able:
        if _is_cpu(worker.attributes):
            by_class[worker.attributes.get(CPU_CLASS, "")].append(worker)
    has_gpu = sum(map(len, by_class.values())) < len(able)
    # A graph optimised for CPUs does not suit GPUs; a level in the spec applies to the whole graph.
    if spec.mode == CutMode.PORTABLE or (
        spec.mode != CutMode.EXACT and has_gpu and spec.optimisation == AUTO
    ):
        return Eligible(tuple(able), CutMode.PORTABLE, OptimisationLevel.NONE)
    if spec.optimisation == AUTO:
        if has_gpu:
            return Eligible(tuple(able), CutMode.EXACT, OptimisationLevel.BASIC)
        if len(by_class) > 1 or "" in by_class:
            return Eligible(tuple(able), CutMode.EXACT, OptimisationLevel.EXTENDED)
        return Eligible(tuple(able), CutMode.EXACT, OptimisationLevel.ALL, next(iter(by_class)))
    level = OptimisationLevel(spec.optimisation)
    if level is not OptimisationLevel.ALL:
        return Eligible(tuple(able), CutMode.EXACT, level)
    by_class.pop("", None)
    if not by_class:
        ids = listed((worker.id for worker in able), quoted=False)
        raise Unsatisfiable(
            f"optimisation 'all' is tied to a class of CPU, and none of {ids} is a CPU worker with a '{CPU_CLASS}'"
        )
    cpu_class = min(by_class, key=lambda name: (-len(by_class[name]), name))
    return Eligible(tuple(by_class[cpu_class]), CutMode.EXACT, level, cpu_class)


def _is_cpu(attributes: Mapping[str, str]) -> bool:
    return attributes.get(DEVICE, "cpu") == "cpu"

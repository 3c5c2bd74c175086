"""Which workers may run a deployment, and what they have in common. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from onnxmesh.discovery.base import Instance
from onnxmesh.errors import Unsatisfiable
from onnxmesh.planning.optimisation_level import OptimisationLevel
from onnxmesh.routing.constraints import lacking
from onnxmesh.v1.model_pb2 import DeploymentSpec
from services.scheduler.spec import AUTO

CPU_CLASS = "cpu.class"
"""The attribute that names a worker's class of CPU."""

DEVICE = "device"
"""The attribute that says what a worker computes on: `cpu` or `cuda`."""

MEMORY_BYTES = "memory.bytes"
"""The attribute that says how much memory a worker has."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """The workers for a deployment.

    Attributes:
        workers: In order of id; never empty, never fewer than the replicas asked for.
        optimisation: The level to optimise the model at.
        cpu_class: The class that this level ties the plan to; empty: none.
    """

    workers: tuple[Instance, ...]
    optimisation: OptimisationLevel
    cpu_class: str

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the smallest worker, None where one does not say."""
        sizes = [worker.attributes.get(MEMORY_BYTES, "") for worker in self.workers]
        return min(map(int, sizes)) if all(size.isdecimal() for size in sizes) else None


def can_run(
    require: Sequence[str], cpu_class: str, tags: Iterable[str], attributes: Mapping[str, str]
) -> bool:
    """Whether a worker satisfies a deployment's requirements and is of the class its plan is tied to."""
    if lacking(require, tuple(tags), attributes):
        return False
    return not cpu_class or (attributes.get(CPU_CLASS) == cpu_class and _is_cpu(attributes))


def eligible_workers(spec: DeploymentSpec, workers: Iterable[Instance]) -> Eligible:
    """Chooses the workers for a deployment and the optimisation level that suits them.

    Args:
        spec: Normalised.
        workers: Everyone in the mesh.

    Raises:
        Unsatisfiable: Nobody, or too few for the replicas; names who lacks what (FAILED_PRECONDITION).
    """
    everyone = sorted(workers, key=lambda worker: worker.id)
    if not everyone:
        raise Unsatisfiable("no worker has joined the mesh")
    able = [worker for worker in everyone if not lacking(spec.require, worker.tags, worker.attributes)]
    if not able:
        wanted = ", ".join(f"'{requirement}'" for requirement in spec.require)
        gaps = "; ".join(
            f"{worker.id} lacks {', '.join(lacking(spec.require, worker.tags, worker.attributes))}"
            for worker in everyone
        )
        raise Unsatisfiable(f"no worker satisfies {wanted}: {gaps}")
    found = _with_level(spec.optimisation, able)
    if len(found.workers) < spec.replicas:
        those = ", ".join(worker.id for worker in found.workers)
        kind = f" of the CPU class '{found.cpu_class}'" if found.cpu_class else ""
        raise Unsatisfiable(
            f"{spec.replicas} replicas of a stage need as many workers; "
            f"{len(found.workers)}{kind} can run them: {those}"
        )
    return found


def _with_level(optimisation: str, able: list[Instance]) -> Eligible:
    by_class: dict[str, list[Instance]] = defaultdict(list)
    for worker in able:
        if _is_cpu(worker.attributes):
            by_class[worker.attributes.get(CPU_CLASS, "")].append(worker)
    num_cpus = sum(map(len, by_class.values()))
    if optimisation == AUTO:
        if num_cpus < len(able):
            return Eligible(tuple(able), OptimisationLevel.BASIC, "")
        if len(by_class) > 1 or "" in by_class:
            return Eligible(tuple(able), OptimisationLevel.EXTENDED, "")
        return Eligible(tuple(able), OptimisationLevel.ALL, next(iter(by_class)))
    level = OptimisationLevel(optimisation)
    if level is not OptimisationLevel.ALL:
        return Eligible(tuple(able), level, "")
    by_class.pop("", None)
    if not by_class:
        those = ", ".join(worker.id for worker in able)
        raise Unsatisfiable(
            f"optimisation 'all' is tied to a class of CPU, and none of {those} is a CPU worker that states its '{CPU_CLASS}'"
        )
    cpu_class = min(by_class, key=lambda name: (-len(by_class[name]), name))
    return Eligible(tuple(by_class[cpu_class]), level, cpu_class)


def _is_cpu(attributes: Mapping[str, str]) -> bool:
    return attributes.get(DEVICE, "cpu") == "cpu"

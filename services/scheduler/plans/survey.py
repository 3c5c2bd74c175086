"""A survey of the mesh: worker kinds and the cluster that a planner sees. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from onnxmesh.ids import WorkerId
from onnxmesh.model.cluster import Cluster
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.workers.memory import memory_pool
from services.scheduler.workers.worker_kinds import WorkerKind
from services.scheduler.workers.worker_view import WorkerView


@dataclass(frozen=True, slots=True)
class Survey:
    """Workers and the links between them, at one moment.

    Attributes:
        kinds: The workers, grouped by what they are.
        cluster: The same for a planner.
    """

    kinds: tuple[WorkerKind, ...]
    cluster: Cluster

    def workers_of(self, name: str) -> tuple[str, ...]:
        """Returns the ids of the workers of a kind; empty for an unknown name."""
        return tuple(worker.id for kind in self.kinds if kind.device.name == name for worker in kind.workers)


def used_bytes(stages: Iterable[DesiredStage], workers: Iterable[WorkerView]) -> Counter[str]:
    """Returns the bytes that stages use where they are held, by `memory_pool`."""
    peak = {stage.key: stage.peak_bytes for stage in stages}
    used: Counter[str] = Counter()
    for worker in workers:
        pool = memory_pool(WorkerId(worker.id), worker.attributes)
        for key, held in worker.stages.items():
            if held.counts:
                used[pool] += peak.get(key, 0)
    return used

"""What a plan can count on: the workers as a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from onnxmesh.ids import WorkerId
from onnxmesh.model.cluster import Cluster
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.desired_stages import DesiredStage, ModelKey, desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.workers.eligibility import Eligible
from services.scheduler.workers.memory import memory_pool
from services.scheduler.workers.worker_kinds import WorkerKind, kinds_of
from services.scheduler.workers.worker_view import WorkerView


@dataclass(frozen=True, slots=True)
class Survey:
    """Workers and the ways between them, at one moment.

    Attributes:
        kinds: Who is alike.
        cluster: The same for a planner.
    """

    kinds: tuple[WorkerKind, ...]
    cluster: Cluster

    def workers_of(self, name: str) -> tuple[str, ...]:
        """Returns the ids of the workers of a kind; of a name that is none, nobody."""
        return tuple(worker.id for kind in self.kinds if kind.device.name == name for worker in kind.workers)


class Surveyor:
    """Looks at the mesh before a plan is made.

    Args:
        fleet: The workers.
        catalogue: What takes their memory.
        links: The ways between them.
    """

    def __init__(self, fleet: Fleet, catalogue: Catalogue, links: LinkTable) -> None:
        self._fleet = fleet
        self._catalogue = catalogue
        self._links = links

    async def survey(self, eligible: Eligible, model: ModelKey | None = None) -> Survey:
        """Returns the eligible workers as a cluster.

        Args:
            eligible: Who may be planned with.
            model: Whose stages take nothing, as a plan for it is made; None: those of all models do.
        """
        others = [
            stage
            for plans in (self._catalogue.deployments, self._catalogue.standby)
            for key, deployment in plans.items()
            if key != model
            for stage in desired_stages(deployment)
        ]
        kinds = kinds_of(eligible.workers, used_bytes(others, self._fleet.views()))
        links = await self._links.links(kinds)
        return Survey(kinds, Cluster(tuple(kind.device for kind in kinds), links))


def used_bytes(stages: Iterable[DesiredStage], workers: Iterable[WorkerView]) -> Counter[str]:
    """Returns the memory that stages take where they are held, by `memory_pool`. Pure."""
    peak = {stage.key: stage.peak_bytes for stage in stages}
    taken: Counter[str] = Counter()
    for worker in workers:
        pool = memory_pool(WorkerId(worker.id), worker.attributes)
        for key, held in worker.stages.items():
            if held.counts:
                taken[pool] += peak.get(key, 0)
    return taken

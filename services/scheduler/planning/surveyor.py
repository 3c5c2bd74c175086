"""Surveys: the eligible workers and the links between them, as a planner needs them."""

from __future__ import annotations

from onnxmesh.ids import ModelKey
from onnxmesh.model.cluster import Cluster
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.link_table import LinkTable
from services.scheduler.plans.survey import Survey, used_bytes
from services.scheduler.workers.eligibility import Eligible
from services.scheduler.workers.worker_kinds import kinds_of


class Surveyor:
    """Surveys the mesh before a plan is made.

    Args:
        fleet: The workers.
        catalogue: All deployments, whose stages use memory.
        links: Measured links between workers.
    """

    def __init__(self, fleet: Fleet, catalogue: Catalogue, links: LinkTable) -> None:
        self._fleet = fleet
        self._catalogue = catalogue
        self._links = links

    async def survey(self, eligible: Eligible, model: ModelKey | None = None) -> Survey:
        """Returns the eligible workers as a cluster; may wait for links to be measured.

        Args:
            eligible: The workers that may be planned with.
            model: The model that is planned: memory that its stages use counts as free. None: a new model.
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

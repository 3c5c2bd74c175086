"""Rollouts: the versions of a model share the requests that name no version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxmesh.errors import InvalidRequest
from onnxmesh.ids import ModelName, Version
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.traffic_splits import TrafficSplits
from services.scheduler.desired.traffic import ALL_PERCENT
from services.scheduler.reconciliation.reconciler import Reconciler


class TrafficRollout:
    """Changes the traffic split of a model and publishes it.

    Args:
        catalogue: What is deployed.
        splits: The splits in force.
        reconciler: Publishes them.
    """

    def __init__(self, catalogue: Catalogue, splits: TrafficSplits, reconciler: Reconciler) -> None:
        self._catalogue = catalogue
        self._splits = splits
        self._reconciler = reconciler

    async def roll_out(self, name: ModelName, to: int, percent: int) -> Mapping[Version, int]:
        """Gives one version a percentage of the requests; the others share the rest as before.

        Returns:
            The percentage of each version.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: No version was named, or the percentage cannot be (INVALID_ARGUMENT).
        """
        self._catalogue.find(name, 0)
        if not to:
            raise InvalidRequest("a rollout names the version that gets a part of the traffic")
        self._catalogue.find(name, to)
        versions = self._catalogue.versions(name)
        await self._splits.roll_out(name, Version(to), percent)
        return self._published(name, versions)

    async def roll_back(self, name: ModelName) -> Mapping[Version, int]:
        """Takes the last rollout of a model back.

        Returns:
            The percentage of each version.

        Raises:
            NotFound: There is no such model (NOT_FOUND).
            Unsatisfiable: There is no rollout to take back (FAILED_PRECONDITION).
        """
        self._catalogue.find(name, 0)
        versions = self._catalogue.versions(name)
        await self._splits.roll_back(name)
        return self._published(name, versions)

    def _published(self, name: ModelName, versions: Sequence[Version]) -> Mapping[Version, int]:
        """Publishes the split; `versions` are those before it was stored, for the model may be undeployed meanwhile."""
        self._reconciler.reconcile()
        # Without a split, the newest version gets all.
        percents = self._splits.percents(name) or dict.fromkeys(versions, 0) | {versions[-1]: ALL_PERCENT}
        return {version: percents.get(version, 0) for version in versions}

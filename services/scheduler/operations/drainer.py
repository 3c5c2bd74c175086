"""Draining of workers: their stages are moved to other workers, with progress reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from onnxmesh.ids import WorkerId
from onnxmesh.v1.mesh_pb2 import DrainProgress
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.operations.drain_goal import DrainGoal, UndrainGoal, held_stages
from services.scheduler.reconciliation.reconciler import Reconciler


class Drainer:
    """Drains workers, or takes a drain back.

    Args:
        fleet: The workers.
        catalogue: What is deployed.
        reconciler: Moves stages.
    """

    def __init__(self, fleet: Fleet, catalogue: Catalogue, reconciler: Reconciler) -> None:
        self._fleet = fleet
        self._catalogue = catalogue
        self._reconciler = reconciler

    async def drain(
        self, worker: WorkerId, report: Callable[[DrainProgress], Awaitable[None]], *, undo: bool = False
    ) -> None:
        """Drains a worker, or with `undo` takes that back; reports each change, and at last that it is done.

        The drain goes on when the caller disconnects.

        Raises:
            NotFound: There is no such worker (NOT_FOUND).
            Unavailable: The worker was restarted meanwhile, which ends the drain, or it left before it confirmed
                the undo (UNAVAILABLE).
        """
        stream = self._fleet.stream(worker)
        stream.drain(undo=undo)
        goal = UndrainGoal(stream) if undo else DrainGoal(self._fleet, self._catalogue, stream)
        await self._reconciler.until(goal, report)
        await report(DrainProgress(stages=held_stages(stream) if undo else (), done=True))

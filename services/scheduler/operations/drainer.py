"""Emptying a worker, told step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from onnxmesh.errors import Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.v1.mesh_pb2 import DrainProgress
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.desired_stages import DesiredStage, desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.fleet.worker_link import WorkerLink
from services.scheduler.placement.placement import Placement
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import can_run
from services.scheduler.workers.holdings import HoldingState
from services.scheduler.workers.worker_view import WorkerView

Report = Callable[[DrainProgress], Awaitable[None]]


class Drainer:
    """Marks workers as to be emptied, and follows what becomes of it.

    Args:
        fleet: The workers.
        catalogue: What is deployed.
        reconciler: Moves stages.
    """

    def __init__(self, fleet: Fleet, catalogue: Catalogue, reconciler: Reconciler) -> None:
        self._fleet = fleet
        self._catalogue = catalogue
        self._reconciler = reconciler

    async def drain(self, worker: WorkerId, report: Report, *, undo: bool = False) -> None:
        """Has a worker emptied, or takes that back; reports each change, and last that it is done.

        The worker stays marked if the caller leaves before.

        Raises:
            NotFound: There is no such worker (NOT_FOUND).
            Unavailable: It was started anew meanwhile, which ends the mark, or left before it was told of the
                undoing (UNAVAILABLE).
        """
        link = self._fleet.link(worker)
        link.drain(undo=undo)
        revision, told = 0, None
        while told is None or not told.done:
            revision, outcome = await self._reconciler.outcome.after(revision)
            if link.gone.is_set() and (undo or worker in self._fleet.links):
                raise Unavailable(f"worker '{worker}' left the mesh or was started anew: it is not marked")
            progress = self._undone(link) if undo else self._emptied(link, outcome.placement)
            if progress != told:
                await report(progress)
                told = progress

    @staticmethod
    def _undone(link: WorkerLink) -> DrainProgress:
        return DrainProgress(stages=_held(link), done=link.connected and not link.leaving)

    def _emptied(self, link: WorkerLink, placement: Placement) -> DrainProgress:
        if link.gone.is_set():
            return DrainProgress(done=True)
        held = _held(link)
        if not link.leaving or not held:
            return DrainProgress(stages=held, done=link.leaving and not held)
        deployments = (*self._catalogue.deployments.values(), *self._catalogue.standby.values())
        desired = {stage.key: stage for each in deployments for stage in desired_stages(each)}
        stage = desired.get(held[0])
        reason = "" if stage is None else why_it_stays(stage, link.id, self._fleet.views(), placement)
        return DrainProgress(stages=held, reason=reason)


def why_it_stays(
    stage: DesiredStage, worker: WorkerId, workers: Collection[WorkerView], placement: Placement
) -> str:
    """Returns what keeps a stage on a worker that leaves; empty: it is being moved. Pure."""
    others = [each for each in workers if each.id != worker and not each.leaving]
    if not others:
        return f"{stage.key}: there is no other worker"
    able = [each for each in others if can_run(stage.require, stage.cpu_class, each.tags, each.attributes)]
    if not able:
        desired = [*stage.require, *([f"the CPU class '{stage.cpu_class}'"] if stage.cpu_class else [])]
        return f"{stage.key}: no other worker satisfies {', '.join(desired)}"
    if any(stage.key in each.stages and each.stages[stage.key].counts for each in able):
        return ""
    if stage.key in placement.lacking_bytes:
        lack_mb = placement.lacking_bytes[stage.key] / 1e6
        return f"{stage.key}: no other worker has the memory for it, the best lacks {lack_mb:.1f} MB"
    for each in able:
        held = each.stages.get(stage.key)
        if held is not None and held.state is HoldingState.FAILED:
            return f"{stage.key}: it could not be loaded on {each.id}: {held.message}"
    return ""


def _held(link: WorkerLink) -> list[StageKey]:
    return sorted(key for key, held in link.holdings.stages.items() if held.state is not HoldingState.FAILED)

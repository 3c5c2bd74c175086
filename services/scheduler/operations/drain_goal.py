"""Goals of a drain: a worker holds no stage any more, or takes stages again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from onnxmesh.errors import Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.v1.mesh_pb2 import DrainProgress
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.desired_stages import DesiredStage, desired_stages
from services.scheduler.fleet.command_stream import CommandStream
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.placement.placement import Placement
from services.scheduler.reconciliation.reconcile_outcome import ReconcileOutcome
from services.scheduler.workers.eligibility import can_run, requirements_text
from services.scheduler.workers.holdings import HoldingState
from services.scheduler.workers.worker_view import WorkerView


@dataclass(frozen=True, slots=True)
class DrainGoal:
    """A worker that is to be drained holds no stage any more, or has left the mesh.

    Attributes:
        fleet: The workers.
        catalogue: What is deployed.
        stream: To the worker.
    """

    fleet: Fleet
    catalogue: Catalogue
    stream: CommandStream

    def remaining(self, outcome: ReconcileOutcome) -> DrainProgress | None:
        """Returns the stages that the worker still holds, and what keeps the first of them; None: it is drained.

        Raises:
            Unavailable: Another process has the worker's id now, which ends the drain (UNAVAILABLE).
        """
        if self.stream.deregistered.is_set():
            if self.stream.id in self.fleet.streams:
                raise _restarted(self.stream.id)
            return None
        held = held_stages(self.stream)
        if not held and self.stream.leaving:
            return None
        if not held or not self.stream.leaving:
            return DrainProgress(stages=held)
        deployments = (*self.catalogue.deployments.values(), *self.catalogue.standby.values())
        stages = {stage.key: stage for each in deployments for stage in desired_stages(each)}
        stage = stages.get(held[0])
        reason = (
            ""
            if stage is None
            else why_it_stays(stage, self.stream.id, self.fleet.views(), outcome.placement)
        )
        return DrainProgress(stages=held, reason=reason)


@dataclass(frozen=True, slots=True)
class UndrainGoal:
    """A worker has confirmed that it is not to be drained any more.

    Attributes:
        stream: To the worker.
    """

    stream: CommandStream

    def remaining(self, outcome: ReconcileOutcome) -> DrainProgress | None:
        """Returns the stages that the worker holds; None: it has confirmed.

        Raises:
            Unavailable: It left the mesh before it confirmed (UNAVAILABLE).
        """
        if self.stream.deregistered.is_set():
            raise _restarted(self.stream.id)
        if self.stream.connected and not self.stream.leaving:
            return None
        return DrainProgress(stages=held_stages(self.stream))


def held_stages(stream: CommandStream) -> list[StageKey]:
    """Returns the stages of which something is on a worker, sorted."""
    return sorted(
        key for key, held in stream.holdings.stages.items() if held.state is not HoldingState.FAILED
    )


def why_it_stays(
    stage: DesiredStage, worker: WorkerId, workers: Collection[WorkerView], placement: Placement
) -> str:
    """Returns what keeps a stage on a worker that is drained; empty: the stage is being moved. Pure."""
    others = [each for each in workers if each.id != worker and not each.leaving]
    if not others:
        return f"{stage.key}: there is no other worker"
    able = [each for each in others if can_run(stage.require, stage.cpu_class, each.tags, each.attributes)]
    if not able:
        return f"{stage.key}: no other worker satisfies {requirements_text(stage.require, stage.cpu_class)}"
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


def _restarted(worker: WorkerId) -> Unavailable:
    return Unavailable(f"worker '{worker}' left the mesh or was restarted: it is not being drained")

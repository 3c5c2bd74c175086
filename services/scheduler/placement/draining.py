"""How workers that are to be emptied get rid of what they hold. Pure."""

from __future__ import annotations

from collections.abc import Collection

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_state import PlacementState


def release(situation: PlacementState, hopeless: Collection[StageKey]) -> None:
    """Has leaving workers let go of what is not needed there any more.

    A replica stays until as many as wanted are ready elsewhere. Where nobody can take another, one is enough.

    Args:
        situation: With all that is missing ordered.
        hopeless: Stages that nobody can be given a replica of.
    """
    for key, leavers in situation.leavers.items():
        stage = situation.wanted[key]
        num_ready = sum(situation.is_ready(worker, key) for worker in situation.holders[key])
        wanted = 1 if key in hopeless else stage.replicas
        kept = 0
        for worker in list(leavers):
            if situation.is_ready(worker, key):
                if num_ready + kept >= wanted:
                    situation.let_go(worker, stage)
                else:
                    kept += 1
        if kept or situation.holders[key]:
            _stop_loading(situation, stage)


def departing(situation: PlacementState, hopeless: Collection[StageKey]) -> tuple[WorkerId, ...]:
    """Returns the leaving workers off which nothing more will be moved, in order of id.

    They hold nothing any more, not even on its way out, or only what nobody else can take.
    """
    columns = situation.columns
    stuck = {key for key in hopeless if not situation.holders[key]}
    evicted = {order.worker for order in situation.evict}
    return tuple(
        view.id
        for view in columns.views
        if view.leaving
        and view.id not in evicted
        and all(key in stuck if held.counts else held.is_gone for key, held in view.stages.items())
    )


def _stop_loading(situation: PlacementState, stage: DesiredStage) -> None:
    for worker in list(situation.leavers[stage.key]):
        if not situation.is_ready(worker, stage.key):
            situation.let_go(worker, stage)

"""How workers that are to be emptied get rid of what they hold. Pure."""

from __future__ import annotations

from collections.abc import Collection

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_state import PlacementState


def release(state: PlacementState, unplaceable: Collection[StageKey]) -> None:
    """Has leaving workers let go of what is not needed there any more.

    A replica stays until as many as desired are ready elsewhere. Where nobody can take another, one is enough.

    Args:
        state: With all that is missing ordered.
        unplaceable: Stages that nobody can be given a replica of.
    """
    for key, leaving_holders in state.leaving_holders.items():
        stage = state.desired[key]
        num_ready = sum(state.is_ready(worker, key) for worker in state.holders[key])
        desired = 1 if key in unplaceable else stage.replicas
        kept = 0
        for worker in list(leaving_holders):
            if state.is_ready(worker, key):
                if num_ready + kept >= desired:
                    state.unload(worker, stage)
                else:
                    kept += 1
        if kept or state.holders[key]:
            _stop_loading(state, stage)


def departing(state: PlacementState, unplaceable: Collection[StageKey]) -> tuple[WorkerId, ...]:
    """Returns the leaving workers off which nothing more will be moved, in order of id.

    They hold nothing any more, not even on its way out, or only what nobody else can take.
    """
    columns = state.columns
    stuck = {key for key in unplaceable if not state.holders[key]}
    evicted = {order.worker for order in state.evict}
    return tuple(
        view.id
        for view in columns.views
        if view.leaving
        and view.id not in evicted
        and all(key in stuck if held.counts else held.is_absent for key, held in view.stages.items())
    )


def _stop_loading(state: PlacementState, stage: DesiredStage) -> None:
    for worker in list(state.leaving_holders[stage.key]):
        if not state.is_ready(worker, stage.key):
            state.unload(worker, stage)

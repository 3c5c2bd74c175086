"""Draining: how the stages of draining workers are moved and evicted. Pure."""

from __future__ import annotations

from collections.abc import Collection

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_state import PlacementState


def release(state: PlacementState, unplaceable: Collection[StageKey]) -> None:
    """Unloads stages from leaving workers where they are not needed any more.

    A replica stays until as many as desired are ready elsewhere. Where no worker can be given another, one is enough.

    Args:
        state: With every missing replica placed.
        unplaceable: Stages that no worker can be given a replica of.
    """
    for key, workers in state.leaving_holders.items():
        stage = state.desired[key]
        num_ready = sum(state.is_ready(worker, key) for worker in state.holders[key])
        num_desired = 1 if key in unplaceable else stage.replicas
        kept = 0
        for worker in list(workers):
            if state.is_ready(worker, key):
                if num_ready + kept >= num_desired:
                    state.unload(worker, stage)
                else:
                    kept += 1
        if kept or state.holders[key]:
            _stop_loading(state, stage)


def departing(state: PlacementState, unplaceable: Collection[StageKey]) -> tuple[WorkerId, ...]:
    """Returns the leaving workers off which nothing more will be moved, in order of id.

    They hold nothing any more, evictions under way included, or only what no other worker can be given.
    """
    columns = state.columns
    stuck = {key for key in unplaceable if not state.holders[key]}
    evicting = {command.worker for command in state.evict}
    return tuple(
        view.id
        for view in columns.views
        if view.leaving
        and view.id not in evicting
        and all(key in stuck if held.counts else held.is_absent for key, held in view.stages.items())
    )


def _stop_loading(state: PlacementState, stage: DesiredStage) -> None:
    for worker in list(state.leaving_holders[stage.key]):
        if not state.is_ready(worker, stage.key):
            state.unload(worker, stage)

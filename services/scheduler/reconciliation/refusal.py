"""Refusals: stages that a worker will not load, and that no other worker can be expected to load. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnxmesh.errors import REASONS, MeshError, from_reason
from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.workers.holdings import Held, HoldingState


def find_refusal(
    stages: Iterable[DesiredStage], holdings: Mapping[WorkerId, Mapping[StageKey, Held]]
) -> MeshError | None:
    """Returns the first error of a failed stage that is not retriable on another worker.

    Args:
        stages: Those of one deployment.
        holdings: What each worker holds.

    Returns:
        The error with the stage and the worker in its message; None: every failure may pass, or there is none.
    """
    for stage in stages:
        for worker, held_stages in holdings.items():
            held = held_stages.get(stage.key)
            if held is not None and held.state is HoldingState.FAILED and held.digest == stage.digest:
                if held.reason in REASONS and REASONS[held.reason].retriable:
                    continue
                return from_reason(
                    held.reason, f"stage '{stage.key}' failed on worker '{worker}': {held.message}"
                )
    return None

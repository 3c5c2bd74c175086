"""Rebalance: the moves that bring every stage to where it would be placed today. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from onnxmesh.ids import Digest, StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.moves import Move
from services.scheduler.placement.placement import decide_placement
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.worker_view import WorkerView


def rebalanced(
    desired: Iterable[DesiredStage], workers: Iterable[WorkerView], now_s: float
) -> tuple[Move, ...]:
    """Returns the moves of a rebalance from first to last, by stage; several moves of a replica are one.

    Decisions are made one after another as if every load succeeded at once, until there is nothing to gain.

    Args:
        desired: Every desired stage.
        workers: Every worker that accepts commands.
        now_s: The time, as for `decide_placement`.
    """
    stages = {stage.key: stage for stage in desired}
    views = {view.id: _after_loading(view) for view in workers}
    before = _holders(stages, views.values())
    reasons: dict[tuple[StageKey, WorkerId], str] = {}
    while True:
        placement = decide_placement(stages.values(), views.values(), now_s, rebalance=True)
        reasons.update({(move.stage, move.target): move.why for move in placement.moves})
        if not placement.place and not placement.evict:
            break
        for command in placement.evict:
            views[command.worker] = _with(views[command.worker], command.stage, None)
        for command in placement.place:
            views[command.worker] = _with(views[command.worker], command.stage, stages[command.stage].digest)
    after = _holders(stages, views.values())
    return tuple(
        Move(key, source, target, reasons[key, target])
        for key in sorted(stages)
        for source, target in zip(
            sorted(before[key] - after[key]),
            sorted(each for each in after[key] - before[key] if (key, each) in reasons),
            strict=False,
        )
    )


def _after_loading(view: WorkerView) -> WorkerView:
    """Returns a worker as it will be after its loads and evictions have finished."""
    stages = {
        key: replace(held, state=HoldingState.READY) if held.counts else held
        for key, held in view.stages.items()
        if held.state is not HoldingState.EVICTING
    }
    return replace(view, stages=stages)


def _with(view: WorkerView, key: StageKey, digest: Digest | None) -> WorkerView:
    stages = {each: held for each, held in view.stages.items() if each != key}
    if digest is not None:
        stages[key] = Held(HoldingState.READY, digest)
    return replace(view, stages=stages)


def _holders(stages: Iterable[StageKey], views: Iterable[WorkerView]) -> dict[StageKey, set[WorkerId]]:
    found: dict[StageKey, set[WorkerId]] = {key: set() for key in stages}
    for view in views:
        for key, held in view.stages.items():
            if held.counts and key in found:
                found[key].add(view.id)
    return found

"""Placement: which worker should hold which stage. Desired stages and workers in, commands out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from onnxmesh.error_text import listed
from onnxmesh.ids import ModelKey, StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.draining import departing, release
from services.scheduler.placement.moves import SETTLE_S, Move, moves_in_progress, start_move
from services.scheduler.placement.placement_candidates import PlacementCandidates
from services.scheduler.placement.placement_state import PlacementState, StageCommand
from services.scheduler.placement.spread import Spread
from services.scheduler.workers.holdings import HoldingState
from services.scheduler.workers.worker_view import WorkerView


@dataclass(frozen=True, slots=True)
class Placement:
    """The decision of one moment.

    Attributes:
        routed: For each desired stage the workers that serve it, in order of id.
        place: Stages to load.
        evict: Stages to evict; none of them is routed.
        retry_s: When to decide again if nothing changes before; None: no need.
        lacking_bytes: Stages that lack a replica because no worker has the memory, and the bytes that the best one lacks.
        freeing: Whether stages are being evicted, so that more memory may be free soon.
        moves: Every move that is under way or was just started.
        departing: Leaving workers off which nothing more will be moved, in order of id: no other worker can be given
            what they still hold, if anything.
    """

    routed: Mapping[StageKey, tuple[WorkerId, ...]]
    place: tuple[StageCommand, ...] = ()
    evict: tuple[StageCommand, ...] = ()
    retry_s: float | None = None
    lacking_bytes: Mapping[StageKey, int] = field(default_factory=dict)
    freeing: bool = False
    moves: tuple[Move, ...] = ()
    departing: tuple[WorkerId, ...] = ()


def decide_placement(
    desired: Iterable[DesiredStage],
    workers: Iterable[WorkerView],
    now_s: float,
    *,
    rebalance: bool = False,
    settle_s: float = SETTLE_S,
) -> Placement:
    """Decides which stages workers should load and evict.

    What is held stays. Missing replicas go to workers that `PlacementCandidates` chooses, a first replica of every stage
    before a second one of any; never two of one stage to one worker. Nothing is placed on a leaving worker, and what it
    holds serves until it is ready elsewhere. Where nothing else is to be done, one move is made that `Spread` counts as a
    gain, if there is one: the stage is loaded at its target first, and the surplus is evicted once that is ready. Moves
    end.

    Args:
        desired: Every desired stage.
        workers: Every worker that accepts commands; one that is shutting down is not among them.
        now_s: The time, on the clock of `Held.retry_s` and `WorkerView.since_s`.
        rebalance: Whether moves are made for any gain, and to new workers too.
        settle_s: Else seconds that a worker must have been in the mesh before stages move to it.
    """
    state = PlacementState(desired, workers, now_s)
    candidates = PlacementCandidates(state)
    _drop_surplus(state)
    lacking_bytes, unplaceable = _fill(state, candidates)
    release(state, unplaceable)
    if not (state.place or state.loading or state.freeing):
        start_move(state, candidates, settle_s, rebalance=rebalance)
    return Placement(
        routed={key: _serving(state, key) for key in state.desired},
        place=tuple(state.place),
        evict=tuple(state.evict),
        retry_s=_retry_s(state, settle_s),
        lacking_bytes=lacking_bytes,
        freeing=state.freeing,
        moves=moves_in_progress(state),
        departing=departing(state, unplaceable),
    )


def _drop_surplus(state: PlacementState) -> None:
    """Unloads ready replicas beyond those desired, where the others are spread best without them."""
    spread = Spread(state)
    for key, stage in state.desired.items():
        if len(state.holders[key]) <= stage.replicas:
            continue
        ready = [worker for worker in state.holders[key] if state.is_ready(worker, key)]
        while len(ready) > stage.replicas:
            worst = spread.worst(stage, ready)
            ready.remove(worst)
            state.unload(worst, stage)


_Priority = tuple[int, ModelKey, int, int, int, StageKey]


def _fill(
    state: PlacementState, candidates: PlacementCandidates
) -> tuple[dict[StageKey, int], set[StageKey]]:
    """Places missing replicas, large ones first where they are of one model.

    Returns:
        The stages for which no worker has the memory, with the bytes that the best one lacks; and those for which there
        is no worker, now or soon.
    """
    queue = [
        _priority(state, stage)
        for key, stage in state.desired.items()
        if len(state.holders[key]) < stage.replicas
    ]
    heapify(queue)
    lacking_bytes, unplaceable = {}, set()
    while queue:
        key = heappop(queue)[-1]
        stage = state.desired[key]
        decision = candidates.choose(stage)
        if decision is None or decision.index is None:
            headroom = candidates.headroom(stage)
            if headroom.lacking_bytes is not None:
                lacking_bytes[key] = headroom.lacking_bytes
            if not headroom.may_grow:
                unplaceable.add(key)
            continue
        state.load(decision.index, stage)
        if len(state.holders[key]) < stage.replicas:
            heappush(queue, _priority(state, stage))
    return lacking_bytes, unplaceable


def _priority(state: PlacementState, stage: DesiredStage) -> _Priority:
    num = len(state.holders[stage.key]) + len(state.leaving_holders.get(stage.key, ()))
    return num, stage.model, stage.revision, -stage.peak_bytes, stage.position, stage.key


def _serving(state: PlacementState, key: StageKey) -> tuple[WorkerId, ...]:
    holders = sorted(state.holders[key] + state.leaving_holders.get(key, []))
    return tuple(state.columns.ids[worker] for worker in holders if state.is_ready(worker, key))


def _retry_s(state: PlacementState, settle_s: float) -> float | None:
    """Returns when a decision may change without an event: a failed stage may be retried, or a worker is no longer new."""
    failed = [
        held.retry_s
        for key, workers in state.remnants.items()
        if len(state.holders[key]) < state.desired[key].replicas
        for worker in workers
        if (held := state.held(worker, key)) is not None and held.state is HoldingState.FAILED
    ]
    settled = (state.columns.since_s + settle_s).tolist() if state.desired else []
    return min((time_s for time_s in [*failed, *settled] if time_s > state.now_s), default=None)


def missing(desired: Sequence[DesiredStage], placement: Placement) -> list[StageKey]:
    """Returns the stages that have fewer serving replicas than desired."""
    return [stage.key for stage in desired if len(placement.routed.get(stage.key, ())) < stage.replicas]


def without_capacity(desired: Sequence[DesiredStage], placement: Placement) -> str:
    """Returns the stages that no worker has the memory for, for good, and the bytes lacking, as text; empty: there is none."""
    if placement.freeing:
        return ""
    lacks = (
        f"{stage.key} lacks {placement.lacking_bytes[stage.key] / 1e6:.1f} MB"
        for stage in desired
        if stage.key in placement.lacking_bytes
    )
    return listed(lacks, quoted=False, none="")

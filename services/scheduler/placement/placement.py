"""Which worker should hold what: deployments and workers in, commands out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage, ModelKey
from services.scheduler.placement.candidates import PlacementCandidates
from services.scheduler.placement.draining import departing, release
from services.scheduler.placement.moves import SETTLE_S, Move, moves_under_way, start_move
from services.scheduler.placement.placement_state import PlacementState, StageCommand
from services.scheduler.placement.spread import Spread
from services.scheduler.workers.holdings import HoldingState
from services.scheduler.workers.worker_view import WorkerView


@dataclass(frozen=True, slots=True)
class Placement:
    """What is to be done now.

    Attributes:
        routed: For each wanted stage the workers that serve it, in order of id.
        place: Stages to load.
        evict: Stages to let go; none of them is routed.
        retry_s: When to look again if nothing happens before; None: no need.
        lacking_bytes: Stages that are missing a replica because no worker has the memory, and how much the best
            one lacks.
        freeing: Whether stages are on their way out, so that there may be more memory soon.
        moves: Every move that is under way or was just started.
        departing: Leaving workers off which nothing more will be moved, in order of id: what they still hold, if
            anything, nobody else can take.
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
    wanted: Iterable[DesiredStage],
    workers: Iterable[WorkerView],
    now_s: float,
    *,
    rebalance: bool = False,
    settle_s: float = SETTLE_S,
) -> Placement:
    """Decides what workers should load and let go.

    What is held stays. Missing replicas go to whom `PlacementCandidates` choose, a first one of every stage before a second one
    of any; never two of one stage to one worker. A leaving worker is given nothing, and what it holds serves until it is
    ready elsewhere. Where nothing else is to be done, one move is made that `Spread` calls a gain, if there is one: the
    stage is loaded at its target first, and the surplus is let go once that is ready. Moves end.

    Args:
        wanted: Every stage that should be somewhere.
        workers: Every worker that takes commands; one that drains is not among them.
        now_s: The time, on the clock of `Held.retry_s` and `WorkerView.since_s`.
        rebalance: Whether moves are made for any gain, and to new workers too.
        settle_s: Else nothing moves to a worker that has been there for less.
    """
    situation = PlacementState(wanted, workers, now_s)
    candidates = PlacementCandidates(situation)
    _drop_surplus(situation)
    lacking_bytes, hopeless = _fill(situation, candidates)
    release(situation, hopeless)
    if not (situation.place or situation.loading or situation.freeing):
        start_move(situation, candidates, settle_s, rebalance=rebalance)
    return Placement(
        routed={key: _serving(situation, key) for key in situation.wanted},
        place=tuple(situation.place),
        evict=tuple(situation.evict),
        retry_s=_retry_s(situation, settle_s),
        lacking_bytes=lacking_bytes,
        freeing=situation.freeing,
        moves=moves_under_way(situation),
        departing=departing(situation, hopeless),
    )


def _drop_surplus(situation: PlacementState) -> None:
    """Lets go of ready replicas beyond those asked for, where the others are spread best without them."""
    spread = Spread(situation)
    for key, stage in situation.wanted.items():
        if len(situation.holders[key]) <= stage.replicas:
            continue
        ready = [worker for worker in situation.holders[key] if situation.is_ready(worker, key)]
        while len(ready) > stage.replicas:
            worst = spread.worst(stage, ready)
            ready.remove(worst)
            situation.let_go(worst, stage)


_Turn = tuple[int, ModelKey, int, int, int, StageKey]


def _fill(
    situation: PlacementState, candidates: PlacementCandidates
) -> tuple[dict[StageKey, int], set[StageKey]]:
    """Places missing replicas, large ones first where they are of one model.

    Returns:
        The stages for which there is no memory, and how much the best worker lacks; and those for which nobody
        is there, nor soon will be.
    """
    turns = [
        _turn(situation, stage)
        for key, stage in situation.wanted.items()
        if len(situation.holders[key]) < stage.replicas
    ]
    heapify(turns)
    lacking_bytes, hopeless = {}, set()
    while turns:
        key = heappop(turns)[-1]
        stage = situation.wanted[key]
        decision = candidates.choose(stage)
        if decision is None or decision.index is None:
            room = candidates.room(stage)
            if room.lacking_bytes is not None:
                lacking_bytes[key] = room.lacking_bytes
            if not room.later:
                hopeless.add(key)
            continue
        situation.load(decision.index, stage)
        if len(situation.holders[key]) < stage.replicas:
            heappush(turns, _turn(situation, stage))
    return lacking_bytes, hopeless


def _turn(situation: PlacementState, stage: DesiredStage) -> _Turn:
    num = len(situation.holders[stage.key]) + len(situation.leavers.get(stage.key, ()))
    return num, stage.model, stage.revision, -stage.peak_bytes, stage.position, stage.key


def _serving(situation: PlacementState, key: StageKey) -> tuple[WorkerId, ...]:
    everyone = sorted(situation.holders[key] + situation.leavers.get(key, []))
    return tuple(situation.columns.ids[worker] for worker in everyone if situation.is_ready(worker, key))


def _retry_s(situation: PlacementState, settle_s: float) -> float | None:
    """Returns when time alone changes something: a failed stage may be tried again, or a worker is no longer new."""
    failed = [
        held.retry_s
        for key, workers in situation.remnants.items()
        if len(situation.holders[key]) < situation.wanted[key].replicas
        for worker in workers
        if (held := situation.held(worker, key)) is not None and held.state is HoldingState.FAILED
    ]
    settled = (situation.columns.since_s + settle_s).tolist() if situation.wanted else []
    return min((time_s for time_s in [*failed, *settled] if time_s > situation.now_s), default=None)


def missing(wanted: Sequence[DesiredStage], placement: Placement) -> list[StageKey]:
    """Returns the stages that have fewer serving replicas than asked for."""
    return [stage.key for stage in wanted if len(placement.routed.get(stage.key, ())) < stage.replicas]


def without_capacity(wanted: Sequence[DesiredStage], placement: Placement) -> str:
    """Says which of the stages no worker has the memory for, for good, and by how much; empty: there is none."""
    if placement.freeing:
        return ""
    return ", ".join(
        f"{stage.key} lacks {placement.lacking_bytes[stage.key] / 1e6:.1f} MB"
        for stage in wanted
        if stage.key in placement.lacking_bytes
    )

"""Moves: which one is worth making, and which are under way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.route_query import CandidateFilter
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_candidates import PlacementCandidates
from services.scheduler.placement.placement_state import PlacementState
from services.scheduler.placement.spread import Gain, Spread

SETTLE_S = 10.0
"""Seconds that a worker must have been in the mesh before stages move to it."""

_WHY = {
    Gain.HOME: "the plan assigns it to '{target}'",
    Gain.ZONE: "the zone of '{source}' has more of its replicas",
    Gain.HOST: "the host of '{source}' has more of its replicas",
    Gain.EVENNESS: "'{source}' has more stages",
    Gain.PIPELINE: "the zone of '{target}' has its neighbours",
    Gain.WORK: "'{source}' has more work",
}


@dataclass(frozen=True, slots=True)
class Move:
    """A stage that moves from one worker to another.

    Attributes:
        stage: The stage.
        source: The worker that evicts it, once it is loaded elsewhere.
        target: The worker that loads it.
        why: The reason, for people.
    """

    stage: StageKey
    source: WorkerId
    target: WorkerId
    why: str


def start_move(
    state: PlacementState, candidates: PlacementCandidates, settle_s: float, *, rebalance: bool
) -> bool:
    """Starts one move, for the weightiest gain that any move has; returns whether there is one.

    The stage is loaded at its target; the surplus replica is evicted once that is ready.

    Args:
        state: With nothing under way.
        candidates: Of that state.
        settle_s: Seconds that a worker must have been in the mesh before stages move to it.
        rebalance: Whether new workers count as well, and a gain in work alone is worth a move.
    """
    spread = Spread(state)
    young = CandidateFilter(
        "young", "it has joined too recently", state.columns.since_s + settle_s > state.now_s
    )
    for gain in Gain:
        if gain is Gain.NONE or (gain is Gain.WORK and not rebalance):
            continue
        for stage, source in _sources(state, spread, gain):
            gains = spread.gains(stage, source)
            if not (gains == gain).any():
                continue
            filters = [
                CandidateFilter("no gain", "the move gains nothing", gains != gain),
                _past(state, stage),
            ]
            if not rebalance:
                filters.append(young)
            with state.without(source, stage):
                target = _target(state, candidates, stage, source, gain, filters)
            if target is not None:
                state.load(target, stage)
                return True
    return False


def moves_in_progress(state: PlacementState) -> tuple[Move, ...]:
    """Returns every move that is under way or was just started, in order of stage."""
    return tuple(move for key, stage in state.desired.items() for move in _moves_of(state, stage, key))


def _moves_of(state: PlacementState, stage: DesiredStage, key: StageKey) -> Iterable[Move]:
    holders, leaving = state.holders[key], state.leaving_holders.get(key, [])
    if len(holders) <= stage.replicas and not leaving:
        return
    ids = state.columns.ids
    loading = [worker for worker in holders if not state.is_ready(worker, key)]
    for source, target in zip(leaving, loading, strict=False):
        yield Move(key, ids[source], ids[target], f"'{ids[source]}' is leaving")
    loading = loading[len(leaving) :]
    num_surplus = min(len(holders) - stage.replicas, len(loading))
    spread = Spread(state)
    ready = [worker for worker in holders if state.is_ready(worker, key)]
    for target in loading[:num_surplus]:
        if not ready:
            return
        source = spread.worst(stage, ready)
        ready.remove(source)
        with state.without(target, stage):
            gain = Gain(int(spread.gains(stage, source)[target]))
        if gain is not Gain.NONE:  # Else fewer replicas are desired now than when loading began.
            why = _WHY[gain].format(source=ids[source], target=ids[target])
            yield Move(key, ids[source], ids[target], why)


def _sources(state: PlacementState, spread: Spread, gain: Gain) -> Iterator[tuple[DesiredStage, int]]:
    """Yields the replicas that may have such a gain by a cheap test, those on the fullest workers first."""
    num_stages, work_ns = state.num_stages, state.work_ns
    staying = ~state.columns.leaving
    if not staying.any():
        return
    least_stages, least_work_ns = int(num_stages[staying].min()), int(work_ns[staying].min())
    found: list[tuple[DesiredStage, int]] = []
    for stage in state.desired.values():
        holders = state.holders[stage.key]
        match gain:
            case Gain.HOME:
                if (strays := spread.strays(stage)) and spread.vacant(stage).any():
                    found.extend((stage, worker) for worker in strays)
            case Gain.ZONE:
                if len(holders) > 1 and state.columns.num_zones > 1 and state.in_zones(stage).max() > 1:
                    found.extend((stage, worker) for worker in holders)
            case Gain.HOST:
                if len(holders) > 1 and state.on_hosts(stage).max() > 1:
                    found.extend((stage, worker) for worker in holders)
            case Gain.EVENNESS:
                found.extend((stage, worker) for worker in holders if num_stages[worker] > least_stages + 1)
            case Gain.PIPELINE:
                if holders and state.columns.num_zones > 1 and spread.is_split(stage):
                    found.extend((stage, worker) for worker in holders)
            case _:
                found.extend((stage, worker) for worker in holders if work_ns[worker] > least_work_ns)

    def rank(pair: tuple[DesiredStage, int]) -> tuple[int, int, int, int, int, StageKey]:
        stage, worker = pair
        return (
            -int(num_stages[worker]),
            -int(work_ns[worker]),
            -worker,
            -state.num_alike(stage)[worker],
            stage.weight_bytes,
            stage.key,
        )

    yield from sorted(found, key=rank)


def _past(state: PlacementState, stage: DesiredStage) -> CandidateFilter:
    """Excludes workers that have, or had, anything of a stage."""
    had = np.zeros(len(state.columns), np.bool_)
    had[state.holders[stage.key]] = True
    had[state.remnants.get(stage.key, [])] = True
    return CandidateFilter("held", "it holds, or held, the stage", had)


def _target(
    state: PlacementState,
    candidates: PlacementCandidates,
    stage: DesiredStage,
    source: int,
    gain: Gain,
    filters: list[CandidateFilter],
) -> int | None:
    """Returns the worker to move a stage to, which the source does without meanwhile; None: it is better where it was."""
    decision = candidates.choose(stage, *filters)
    if decision is None or decision.index is None:
        return None
    num_alike = state.num_alike(stage)
    if gain >= Gain.EVENNESS:
        # As at placement: where its model has fewer stages, else where a request completes sooner.
        more_alike = num_alike[decision.index] - num_alike[source]
        if more_alike > 0 and gain is not Gain.EVENNESS:
            return None
        if more_alike >= 0 and gain is not Gain.PIPELINE and not candidates.is_faster(decision, source):
            return None
    return decision.index

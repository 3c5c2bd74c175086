"""Which replica serves one stage of one request: filter, score, pick.

*Filter*: a replica must be usable, and meet what the request requires in time. *Score*: the time at which it is expected
to be done, transfer, waiting and computing together; workers that others use too count for later, for their work is known
only from time to time; what is preferred counts for sooner. *Pick*: in the tier of zones whose
turn it is, the better of two drawn at random from the best. Gateways run it for each request, schedulers to weigh
workers, the simulator in virtual time; the explanation reads what it left behind.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001. Two of *all* leave many
idle workers unseen; two of the *best*, as far as one knows, keep choosers with equally old figures from all
running after the same worker.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.decision import ALL_TIERS, Decision
from onnxmesh.routing.network import Network
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.slow_start import ramp
from onnxmesh.routing.spill import shares
from onnxmesh.routing.stage_board import Origin, StageBoard, View
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.worker_board import WorkerBoard


def choose_replica(
    stage: StageBoard,
    workers: WorkerBoard,
    network: Network,
    origin: Origin,
    ask: RouteQuery,
    settings: PolicySettings,
    rng: RandomSource,
    now_s: float,
) -> Decision:
    """Chooses a replica.

    Args:
        stage: Its replicas; the use of their zones is taken note of there.
        workers: Who is up, and who has how much work.
        network: What is known of the ways between processes.
        origin: Where the request comes from.
        ask: What it wants.
        settings: The figures to go by.
        rng: Draws.
        now_s: The time, on the clock of the boards.
    """
    view = stage.view(origin, network)
    up = workers.up[stage.slots]
    passed = _filtered(stage, workers, up, ask, now_s)
    wait_s = workers.work_s(stage.slots, stage.compute_s * settings.fade, now_s)
    transfer_s = view.half_trip_s + view.s_per_byte * ask.num_bytes if ask.num_bytes else view.half_trip_s
    before = stage.index(origin.node)
    if before is not None:
        transfer_s = transfer_s.copy()
        transfer_s[before] = 0.0
    if ask.onward_s is not None:
        transfer_s = transfer_s + ask.onward_s
    ready_s = wait_s + stage.compute_s
    completion_s = transfer_s + ready_s
    if ask.waited_s:
        ready_s = np.maximum(wait_s - ask.waited_s, 0.0) + stage.compute_s
    score_s = workers.usual_s[stage.slots]
    score_s *= settings.caution
    score_s += completion_s
    if ask.prefer:
        score_s -= stage.bonus_s(ask.prefer)
    in_time, late, probe = _in_time(stage, passed, ready_s, ask, settings, now_s)
    pool, tier = in_time, ALL_TIERS
    kept: tuple[float, ...] = ()
    index: int | None = None
    explored = False
    place = stage.index(ask.stay[stage.stage.key]) if stage.stage.key in ask.stay else None
    stays = place is not None and not late and bool(in_time[place])
    if late or not np.count_nonzero(in_time):
        pass
    elif stays:
        index = place
    elif not ask.draws:
        index = int(np.where(in_time, score_s, inf).argmin())
    else:
        if rng.random() < settings.explore:
            explored = True
        else:
            pool, tier, kept = _near(stage, view, in_time, wait_s, settings, rng.random())
        pool = _started(stage, pool, score_s, settings, rng.random(), now_s)
        index = _pick(score_s, pool, stage.typical_s * settings.slack, explored, rng)
        if before is not None and pool[before] and score_s[before] <= score_s[index]:
            index = before
    return Decision(
        stage,
        ask,
        view,
        up,
        passed,
        wait_s,
        transfer_s,
        ready_s,
        completion_s,
        score_s,
        pool,
        tier,
        kept,
        index,
        late,
        probe,
        explored,
        stays,
    )


def _filtered(
    stage: StageBoard, workers: WorkerBoard, up: NDArray[np.bool_], ask: RouteQuery, now_s: float
) -> NDArray[np.bool_]:
    passed = up
    if stage.ejecting_until_s > now_s:
        passed = passed & (stage.ejected_until_s <= now_s)
    if ask.require:
        passed = passed & stage.selected(ask.require)
    if ask.excluded:
        passed = passed.copy()
        for worker in ask.excluded:
            if (index := stage.index(worker)) is not None:
                passed[index] = False
    for bar in ask.bars:
        passed = passed & ~bar.columns
    if workers.num_silent:
        # Somebody who is merely suspect is better than nobody.
        heard = passed & ~workers.silent[stage.slots]
        if np.count_nonzero(heard):
            passed = heard
    return passed


def _in_time(
    stage: StageBoard,
    passed: NDArray[np.bool_],
    ready_s: NDArray[np.float64],
    ask: RouteQuery,
    settings: PolicySettings,
    now_s: float,
) -> tuple[NDArray[np.bool_], bool, bool]:
    """Returns who can be done in time; whether nobody can; and whether the request may try its luck all the same.

    Only work counts: it is measured, where ways may be guessed.
    """
    if ask.remaining_s == inf:
        return passed, False, False
    in_time = passed & (ready_s <= ask.remaining_s)
    if np.count_nonzero(in_time) or not np.count_nonzero(passed):
        return in_time, False, False
    # Figures may be wrong, and only requests that run correct them.
    if now_s - stage.probed_s >= settings.probe_s:
        stage.probed_s = now_s
        return passed, False, True
    return in_time, True, False


def _near(
    stage: StageBoard,
    view: View,
    candidates: NDArray[np.bool_],
    wait_s: NDArray[np.float64],
    settings: PolicySettings,
    draw: float,
) -> tuple[NDArray[np.bool_], int, tuple[float, ...]]:
    """Returns the candidates of the tier whose turn it is."""
    if view.num_tiers == 1:
        return candidates, 0, (1.0,)
    capacity = stage.per_s * candidates
    # A replica with a request's worth of work or more is in use whole.
    use = np.minimum(wait_s, stage.compute_s)
    use *= stage.per_s
    use *= capacity
    capacities = np.bincount(view.tiers, capacity, view.num_tiers).tolist()
    uses = np.bincount(view.tiers, use, view.num_tiers).tolist()
    pressure = view.pressure
    for tier, of_tier in enumerate(capacities):
        if of_tier:
            pressure.observe(tier, uses[tier] / of_tier)
    kept = shares(pressure.used, [bool(each) for each in capacities], settings.spill_at)
    for tier, share in enumerate(kept):
        draw -= share
        if draw < 0.0:
            return candidates & (view.tiers == tier), tier, tuple(kept)
    return candidates, ALL_TIERS, tuple(kept)


def _started(
    stage: StageBoard,
    pool: NDArray[np.bool_],
    score_s: NDArray[np.float64],
    settings: PolicySettings,
    draw: float,
    now_s: float,
) -> NDArray[np.bool_]:
    """Returns the pool without those whose slow start has not come so far yet, unless the others are full."""
    if stage.starting_until_s <= now_s:
        return pool
    started = pool & (ramp(now_s - stage.begun_s, settings.slow_start_s, settings.slow_start_floor) > draw)
    if not np.count_nonzero(started):
        return pool
    spared_s = score_s[started].min() - score_s[pool].min()
    return pool if spared_s > settings.slow_start_patience * stage.typical_s else started


def _pick(
    score_s: NDArray[np.float64], pool: NDArray[np.bool_], slack_s: float, explored: bool, rng: RandomSource
) -> int:
    """Returns the better of two that are drawn from the best of the pool, which has somebody."""
    indices = pool.nonzero()[0]
    num = len(indices)
    if num == 1:
        return int(indices[0])
    if explored:
        return int(indices[int(rng.random() * num)])
    scores = score_s[indices]
    if num > 2:
        # The best: as many as the root of all, and everyone who is about as good.
        nth = max(2, int(num**0.5))
        ordered = scores.copy()
        ordered.partition((0, nth - 1))
        limit = max(ordered.item(nth - 1), ordered.item(0) + slack_s)
        best = (scores <= limit).nonzero()[0]
        num = len(best)
    else:
        best = None
    first = int(rng.random() * num)
    second = int(rng.random() * (num - 1))
    second += second >= first
    if best is not None:
        first, second = int(best[first]), int(best[second])
    return int(indices[first if scores[first] <= scores[second] else second])

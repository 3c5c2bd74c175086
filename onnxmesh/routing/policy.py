"""Routing policy for one stage of one request: filter, score, pick.

*Filter*: a replica must be usable, meet the request's selectors, and finish in time. *Score*: its expected completion
time, the sum of transfer, wait and compute; workers that other gateways use as well score worse, because their work is
known only from time to time; preferred workers score better. *Pick*: within the tier of zones that the request is
assigned to, the better of two drawn at random from the best. Gateways run it for each request, schedulers to weigh
workers, the simulator in virtual time.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001. Two of *all* leave many
idle workers unseen; two of the *best* keep gateways with equally old estimates from all choosing the same worker.

Source: Envoy, "Slow start mode", with aggression 1, for the share of a newly loaded replica.
"""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.decision import ALL_TIERS, Decision, Pick, Scores
from onnxmesh.routing.network import Network
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.spillover import spillover_shares
from onnxmesh.routing.stage_board import Origin, OriginView, StageBoard
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.worker_board import WorkerBoard


def choose_replica(
    stage: StageBoard,
    workers: WorkerBoard,
    network: Network,
    *,
    origin: Origin,
    query: RouteQuery,
    settings: PolicySettings,
    rng: RandomSource,
    now_s: float,
) -> Decision:
    """Chooses a replica for one stage of one request.

    Args:
        stage: The replicas; the utilisation of their tiers is updated.
        workers: Liveness and work of the workers.
        network: Measured links.
        origin: The process that sends the request to the replica.
        query: Constraints of the request.
        settings: Parameters of the policy.
        rng: Source of the draws.
        now_s: The time, on the clock of the boards.
    """
    view = stage.view(origin, network)
    up = workers.up[stage.slots]
    passed = _filtered(stage, workers, up, query, now_s)
    before = stage.index(origin.node)
    scores = _scored(stage, workers, view, before, query, settings, now_s)
    pick = _picked(stage, view, before, passed, scores, query, settings, rng, now_s)
    return Decision(stage=stage, query=query, view=view, up=up, passed=passed, scores=scores, pick=pick)


def slow_start_share(age_s: NDArray[np.float64], window_s: float, floor: float) -> NDArray[np.float64]:
    """Returns the fraction of its share that a replica of each age gets: linear from `floor` to 1 after `window_s`."""
    grown: NDArray[np.float64] = floor + (1.0 - floor) * age_s / window_s
    return np.clip(grown, floor, 1.0)


def _filtered(
    stage: StageBoard, workers: WorkerBoard, up: NDArray[np.bool_], query: RouteQuery, now_s: float
) -> NDArray[np.bool_]:
    passed = up
    if stage.ejecting_until_s > now_s:
        passed = passed & (stage.ejected_until_s <= now_s)
    if query.require:
        passed = passed & stage.selected(query.require)
    if query.excluded:
        passed = passed.copy()
        for worker in query.excluded:
            if (index := stage.index(worker)) is not None:
                passed[index] = False
    for each in query.filters:
        passed = passed & ~each.excluded
    if workers.num_suspect:
        # A suspect worker is better than none.
        trusted = passed & ~workers.suspect[stage.slots]
        if np.count_nonzero(trusted):
            passed = trusted
    return passed


def _scored(
    stage: StageBoard,
    workers: WorkerBoard,
    view: OriginView,
    before: int | None,
    query: RouteQuery,
    settings: PolicySettings,
    now_s: float,
) -> Scores:
    """Returns the expected times on each replica; `before` is the one at the origin, which needs no transfer."""
    wait_s = workers.work_s(stage.slots, stage.compute_s * settings.fade, now_s)
    transfer_s = view.half_trip_s + view.s_per_byte * query.num_bytes if query.num_bytes else view.half_trip_s
    if before is not None:
        transfer_s = transfer_s.copy()
        transfer_s[before] = 0.0
    if query.onward_s is not None:
        transfer_s = transfer_s + query.onward_s
    ready_s = wait_s + stage.compute_s
    completion_s = transfer_s + ready_s
    if query.waited_s:
        ready_s = np.maximum(wait_s - query.waited_s, 0.0) + stage.compute_s
    score_s = workers.typical_s[stage.slots]
    score_s *= settings.caution
    score_s += completion_s
    if query.prefer:
        score_s -= stage.bonus_s(query.prefer)
    return Scores(
        wait_s=wait_s, transfer_s=transfer_s, ready_s=ready_s, completion_s=completion_s, score_s=score_s
    )


def _picked(
    stage: StageBoard,
    view: OriginView,
    before: int | None,
    passed: NDArray[np.bool_],
    scores: Scores,
    query: RouteQuery,
    settings: PolicySettings,
    rng: RandomSource,
    now_s: float,
) -> Pick:
    """Returns the pick among the replicas that passed the filters; of equals it is `before`, the one at the origin."""
    score_s = scores.score_s
    pool, is_late, is_probe = _in_time(stage, passed, scores.ready_s, query, settings, now_s)
    if not np.count_nonzero(pool):
        return Pick(index=None, pool=pool, is_late=is_late)
    held = stage.index(query.affinity[stage.stage.key]) if stage.stage.key in query.affinity else None
    if held is not None and pool[held]:
        return Pick(index=held, pool=pool, is_probe=is_probe, is_affine=True)
    if not query.randomised:
        return Pick(index=int(np.where(pool, score_s, inf).argmin()), pool=pool, is_probe=is_probe)
    tier = ALL_TIERS
    tier_shares: tuple[float, ...] = ()
    is_exploration = rng.random() < settings.explore
    if not is_exploration:
        pool, tier, tier_shares = _in_tier(stage, view, pool, scores.wait_s, settings, rng.random())
    pool = _started(stage, pool, score_s, settings, rng.random(), now_s)
    index = _pick(score_s, pool, stage.typical_s * settings.slack, is_exploration, rng)
    if before is not None and pool[before] and score_s[before] <= score_s[index]:
        index = before
    return Pick(
        index=index,
        pool=pool,
        tier=tier,
        tier_shares=tier_shares,
        is_probe=is_probe,
        is_exploration=is_exploration,
    )


def _in_time(
    stage: StageBoard,
    passed: NDArray[np.bool_],
    ready_s: NDArray[np.float64],
    query: RouteQuery,
    settings: PolicySettings,
    now_s: float,
) -> tuple[NDArray[np.bool_], bool, bool]:
    """Returns the candidates that can finish in time; whether none can; and whether the request is sent all the same.

    Only wait and compute count, which are measured; link costs may be guesses.
    """
    if query.remaining_s == inf:
        return passed, False, False
    in_time = passed & (ready_s <= query.remaining_s)
    if np.count_nonzero(in_time) or not np.count_nonzero(passed):
        return in_time, False, False
    # Estimates may be wrong, and only requests that run correct them.
    if now_s - stage.probed_s >= settings.probe_s:
        stage.probed_s = now_s
        return passed, False, True
    return in_time, True, False


def _in_tier(
    stage: StageBoard,
    view: OriginView,
    candidates: NDArray[np.bool_],
    wait_s: NDArray[np.float64],
    settings: PolicySettings,
    draw: float,
) -> tuple[NDArray[np.bool_], int, tuple[float, ...]]:
    """Returns the candidates of the tier that the request is assigned to, that tier, and the share of each tier."""
    if view.num_tiers == 1:
        return candidates, 0, (1.0,)
    capacity = stage.per_s * candidates
    # A replica with at least one request's worth of work is fully in use.
    use = np.minimum(wait_s, stage.compute_s)
    use *= stage.per_s
    use *= capacity
    capacities = np.bincount(view.tiers, capacity, view.num_tiers).tolist()
    uses = np.bincount(view.tiers, use, view.num_tiers).tolist()
    utilisation = view.utilisation
    for tier, of_tier in enumerate(capacities):
        if of_tier:
            utilisation.observe(tier, uses[tier] / of_tier)
    kept = spillover_shares(utilisation.average, [bool(each) for each in capacities], settings.spill_at)
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
    """Returns the pool without replicas that slow start holds back, unless the others are much slower."""
    if stage.starting_until_s <= now_s:
        return pool
    share = slow_start_share(now_s - stage.added_s, settings.slow_start_s, settings.slow_start_floor)
    started = pool & (share > draw)
    if not np.count_nonzero(started):
        return pool
    loss_s = score_s[started].min() - score_s[pool].min()
    return pool if loss_s > settings.slow_start_tolerance * stage.typical_s else started


def _pick(
    score_s: NDArray[np.float64],
    pool: NDArray[np.bool_],
    slack_s: float,
    is_exploration: bool,
    rng: RandomSource,
) -> int:
    """Returns the better of two drawn from the best of the pool, which must not be empty."""
    indices = pool.nonzero()[0]
    num = len(indices)
    if num == 1:
        return int(indices[0])
    if is_exploration:
        return int(indices[int(rng.random() * num)])
    scores = score_s[indices]
    if num > 2:
        # The best: as many as the root of all, and all that are about as good.
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

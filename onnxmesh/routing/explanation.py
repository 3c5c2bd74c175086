"""Explanation of a decision: each candidate with its filter or score, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.quantities import time_text
from onnxmesh.routing.decision import ALL_TIERS, Decision
from onnxmesh.routing.worker_board import WorkerBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Outcome for one candidate.

    Attributes:
        worker: The candidate's worker.
        rule: The filter that excluded it; empty: it was scored.
        why: The filter's reason in words, or why a scored candidate was not eligible for the pick; may be empty.
        tier: Its tier; 0 is the nearest.
        transfer_s: Transfer time to it.
        is_measured: Whether the link to it was measured, not guessed from localities.
        wait_s: Work queued ahead of the request.
        compute_s: Compute time.
        caution_s: Addition for the work that others typically have there.
        bonus_s: Value of the preferences that it meets.
        score_s: Sum of all these; less is better.
        is_picked: Whether it was picked.
    """

    worker: WorkerId
    rule: str
    why: str
    tier: int
    transfer_s: float
    is_measured: bool
    wait_s: float
    compute_s: float
    caution_s: float
    bonus_s: float
    score_s: float
    is_picked: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Explanation of one decision.

    Attributes:
        stage: The stage.
        verdicts: One for each replica, in the order of the route table.
        outcome: The decision, in a sentence.
    """

    stage: StageKey
    verdicts: tuple[Verdict, ...]
    outcome: str

    @property
    def picked(self) -> WorkerId | None:
        """The worker that was picked, None if none was."""
        return next((verdict.worker for verdict in self.verdicts if verdict.is_picked), None)


def explain_route(decision: Decision, workers: WorkerBoard, now_s: float) -> Explanation:
    """Explains a decision that was made just now.

    Args:
        decision: The decision with its basis.
        workers: The board that it was made on, unchanged since.
        now_s: The time at which it was made.
    """
    stage, scores = decision.stage, decision.scores
    bonus_s = stage.bonus_s(decision.query.prefer)
    verdicts = []
    for index, replica in enumerate(stage.replicas):
        rule, why = _filtered(decision, index, workers, now_s)
        verdicts.append(
            Verdict(
                worker=replica.worker,
                rule=rule,
                why=why,
                tier=int(decision.view.tiers[index]),
                transfer_s=float(scores.transfer_s[index]),
                is_measured=bool(decision.view.measured[index]),
                wait_s=float(scores.wait_s[index]),
                compute_s=float(stage.compute_s[index]),
                caution_s=float(scores.score_s[index] - scores.completion_s[index] + bonus_s[index]),
                bonus_s=float(bonus_s[index]),
                score_s=float(scores.score_s[index]),
                is_picked=index == decision.index,
            )
        )
    return Explanation(stage.stage.key, tuple(verdicts), _outcome(decision))


def _filtered(  # noqa: PLR0911 - a rule each
    decision: Decision, index: int, workers: WorkerBoard, now_s: float
) -> tuple[str, str]:
    """Returns the filter that excluded a replica, and its reason; without a filter, why it was not eligible."""
    stage, query, pick = decision.stage, decision.query, decision.pick
    replica, slot = stage.replicas[index], stage.workers[index][0]
    if replica.worker in query.excluded:
        return "excluded", "it failed this request before"
    if not workers.live[slot]:
        return "not live", "there is no stream to it"
    if workers.draining[slot]:
        return "draining", "it takes nothing new"
    if stage.ejected_until_s[index] > now_s:
        health = stage.outliers[replica.worker]
        return "ejected", f"{health.why}; for {stage.ejected_until_s[index] - now_s:.1f} s more"
    if query.require and (lacking := query.require.lacking(replica.facts.labels)):
        return "requirement", "lacks " + ", ".join(f"'{each}'" for each in lacking)
    for each in query.filters:
        if each.excluded[index]:
            return each.rule, each.why
    if workers.suspect[slot] and not decision.passed[index]:
        return "silent", "it is suspect: no heartbeat for a while, so others go first"
    if not pick.is_probe and decision.scores.ready_s[index] > query.remaining_s:
        ready_s = time_text(decision.scores.ready_s[index])
        return "deadline", f"done in {ready_s}, expected within {time_text(query.remaining_s)}"
    if pick.index is None or pick.pool[index]:
        return "", ""
    if pick.tier != ALL_TIERS and decision.view.tiers[index] != pick.tier:
        return "", f"tier {decision.view.tiers[index]} was not drawn"
    return "", "slow start: it was held back"


def _outcome(decision: Decision) -> str:  # noqa: PLR0911 - a sentence each
    pick = decision.pick
    if pick.is_late:
        return f"refused: the first would be done in {time_text(decision.soonest_s)}"
    if pick.index is None:
        return "no candidate remains"
    worker = decision.stage.replicas[pick.index].worker
    if pick.is_affine:
        return f"'{worker}': it has served this session"
    if pick.is_probe:
        return f"'{worker}': by the estimates none can finish in time, and this request probes them"
    if pick.is_exploration:
        return f"'{worker}': drawn from all, so that the estimates of all stay fresh"
    if pick.tier == ALL_TIERS:
        drawn = "the better of two of the best of all tiers, for all are full"
        return f"'{worker}': {drawn if decision.query.randomised else 'the best'}"
    kept = f", which keeps {pick.tier_shares[pick.tier]:.0%} of requests" if len(pick.tier_shares) > 1 else ""
    return f"'{worker}': the better of two of the best of tier {pick.tier}{kept}"

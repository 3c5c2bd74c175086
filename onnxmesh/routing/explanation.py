"""Why a replica was picked: what a decision left behind, in words and figures."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.decision import ALL_TIERS, Decision
from onnxmesh.routing.worker_board import WorkerBoard


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate.

    Attributes:
        worker: Which.
        rule: The rule that filtered it out; empty: it was scored.
        why: The rule's reason in words, or why one that was scored had no turn; may be empty.
        tier: How far away it is: 0 is the nearest tier.
        transfer_s: Time to get there.
        is_measured: Whether the way there was measured, not guessed by names.
        wait_s: Work ahead of the request.
        compute_s: What it takes there.
        caution_s: What is added for what others usually have there.
        bonus_s: What preferences are worth.
        score_s: All of that; less is better.
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
    """One decision.

    Attributes:
        stage: What had to be run.
        verdicts: On each replica, in the order of the route table.
        outcome: What was decided, in a sentence.
    """

    stage: StageKey
    verdicts: tuple[Verdict, ...]
    outcome: str

    @property
    def picked(self) -> WorkerId | None:
        """The pick, if there is one."""
        return next((verdict.worker for verdict in self.verdicts if verdict.is_picked), None)


def explain_route(decision: Decision, workers: WorkerBoard, now_s: float) -> Explanation:
    """Puts a decision that was made just now into words.

    Args:
        decision: What was decided, with all that it was decided by.
        workers: The board that it was made on, unchanged since.
        now_s: The time it was made at.
    """
    stage, ask = decision.stage, decision.ask
    bonus_s = stage.bonus_s(ask.prefer)
    verdicts = []
    for index, replica in enumerate(stage.replicas):
        rule, why = _filtered(decision, index, workers, now_s)
        verdicts.append(
            Verdict(
                worker=replica.worker,
                rule=rule,
                why=why,
                tier=int(decision.view.tiers[index]),
                transfer_s=float(decision.transfer_s[index]),
                is_measured=bool(decision.view.measured[index]),
                wait_s=float(decision.wait_s[index]),
                compute_s=float(stage.compute_s[index]),
                caution_s=float(decision.score_s[index] - decision.completion_s[index] + bonus_s[index]),
                bonus_s=float(bonus_s[index]),
                score_s=float(decision.score_s[index]),
                is_picked=index == decision.index,
            )
        )
    return Explanation(stage.stage.key, tuple(verdicts), _outcome(decision))


def _filtered(  # noqa: PLR0911 - a rule each
    decision: Decision, index: int, workers: WorkerBoard, now_s: float
) -> tuple[str, str]:
    """Returns the rule that ended a replica's chances, and its reason; without a rule, why it had no turn."""
    stage, ask = decision.stage, decision.ask
    replica, slot = stage.replicas[index], stage.places[index][0]
    if replica.worker in ask.excluded:
        return "excluded", "it failed this request before"
    if not workers.live[slot]:
        return "not live", "there is no stream to it"
    if workers.draining[slot]:
        return "draining", "it takes nothing new"
    if stage.ejected_until_s[index] > now_s:
        health = stage.outliers[replica.worker]
        return "ejected", f"{health.why}; for {stage.ejected_until_s[index] - now_s:.1f} s more"
    if ask.require and (lacking := ask.require.lacking(replica.facts.labels)):
        return "requirement", "lacks " + ", ".join(f"'{each}'" for each in lacking)
    for bar in ask.bars:
        if bar.columns[index]:
            return bar.rule, bar.why
    if workers.silent[slot] and not decision.passed[index]:
        return "silent", "nothing was heard of it for a while, so others go first"
    if not decision.probe and decision.ready_s[index] > ask.remaining_s:
        return (
            "deadline",
            f"done in {decision.ready_s[index] * 1e3:.3g} ms, expected within {ask.remaining_s * 1e3:.3g} ms",
        )
    if decision.index is None or decision.pool[index]:
        return "", ""
    if decision.tier != ALL_TIERS and decision.view.tiers[index] != decision.tier:
        return "", f"tier {decision.view.tiers[index]} had no turn"
    return "", "slow start: it had no turn"


def _outcome(decision: Decision) -> str:  # noqa: PLR0911 - a sentence each
    if decision.late:
        return f"refused: the first would be done in {decision.soonest_s * 1e3:.3g} ms"
    if decision.index is None:
        return "nobody is left"
    worker = decision.stage.replicas[decision.index].worker
    if decision.stays:
        return f"'{worker}': it has served this session"
    if decision.probe:
        return f"'{worker}': nobody can be done in time as far as is known, and this request finds out"
    if decision.explored:
        return f"'{worker}': drawn from all, so that figures of everyone stay fresh"
    if decision.tier == ALL_TIERS:
        drawn = "the better of two of the best of all tiers, for all are full"
        return f"'{worker}': {drawn if decision.ask.draws else 'the best'}"
    kept = (
        f", which keeps {decision.shares[decision.tier]:.0%} of requests" if len(decision.shares) > 1 else ""
    )
    return f"'{worker}': the better of two of the best of tier {decision.tier}{kept}"

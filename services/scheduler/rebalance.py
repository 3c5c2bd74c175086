"""What a rebalance would move. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from onnxmesh.ids import StageKey, WorkerId
from services.scheduler.holdings import Held, StageState
from services.scheduler.placement import WorkerView, decide
from services.scheduler.wanted import WantedStage

MAX_ROUNDS = 10_000
"""More than any rebalance takes; one that did not end would be a defect."""


@dataclass(frozen=True, slots=True)
class Move:
    """A stage that goes from one worker to another.

    Attributes:
        stage: Which.
        source: Where it is.
        target: Where it will be.
        why: In a short sentence.
    """

    stage: StageKey
    source: WorkerId
    target: WorkerId
    why: str


def rebalanced(
    wanted: Iterable[WantedStage], workers: Iterable[WorkerView], now_s: float
) -> tuple[Move, ...]:
    """Returns what a rebalance would move, all in all, if every load succeeded at once."""
    wanted = tuple(wanted)
    before = {worker.id: worker for worker in workers}
    after = dict(before)
    digests = {stage.key: stage.digest for stage in wanted}
    for _ in range(MAX_ROUNDS):
        placement = decide(wanted, after.values(), now_s, rebalance=True)
        if not placement.place and not placement.evict:
            break
        held = {id_: dict(worker.stages) for id_, worker in after.items()}
        for order in placement.evict:
            held[order.worker].pop(order.stage, None)
        for order in placement.place:
            held[order.worker][order.stage] = Held(StageState.READY, digests[order.stage])
        after = {id_: replace(worker, stages=held[id_]) for id_, worker in after.items()}
    gone: defaultdict[StageKey, list[WorkerId]] = defaultdict(list)
    come: defaultdict[StageKey, list[WorkerId]] = defaultdict(list)
    for id_ in sorted(before):
        was, now = _serving(before[id_]), _serving(after[id_])
        for key in was - now:
            gone[key].append(id_)
        for key in now - was:
            come[key].append(id_)
    return tuple(
        Move(key, source, target, f"{source} holds more, or another worker is meant for it")
        for key in sorted(gone.keys() & come.keys())
        for source, target in zip(gone[key], come[key], strict=False)
    )


def _serving(worker: WorkerView) -> set[StageKey]:
    return {key for key, held in worker.stages.items() if held.counts}

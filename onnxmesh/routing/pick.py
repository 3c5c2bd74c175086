"""Which replica serves each stage of one request: filter, score, pick.

Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Protocol

from onnxmesh.ids import WorkerId
from onnxmesh.routing.table import Replica, RoutedStage

Route = tuple[Replica, ...]
"""One replica for each stage, in the order of the pipeline."""


class WorkerView(Protocol):
    """What the picker knows of workers at this moment."""

    def is_live(self, worker: WorkerId) -> bool:
        """Whether frames can be sent to it."""

    def load(self, worker: WorkerId) -> float:
        """How much it has to do; less is better."""


class RandomSource(Protocol):
    """What draws the choices: a `random.Random`."""

    def random(self) -> float:
        """Returns a figure in [0, 1)."""


@dataclass(frozen=True, slots=True)
class NoCandidate:
    """There is no route: every replica of a stage was filtered out.

    Attributes:
        stage: The first such stage.
    """

    stage: int


def pick_route(
    stages: Sequence[RoutedStage], workers: WorkerView, excluded: Container[WorkerId], rng: RandomSource
) -> Route | NoCandidate:
    """Returns a route over live workers, or the stage that has none.

    Args:
        stages: The model's stages.
        workers: Liveness and load.
        excluded: Workers that failed this request already.
        rng: Draws the two choices.
    """
    route: list[Replica] = []
    for index, stage in enumerate(stages):
        candidates = filter_replicas(stage.replicas, workers, excluded)
        if not candidates:
            return NoCandidate(index)
        previous = route[-1].worker if route else None
        route.append(pick_replica(candidates, workers, previous, rng))
    return tuple(route)


def filter_replicas(
    replicas: Sequence[Replica], workers: WorkerView, excluded: Container[WorkerId]
) -> Sequence[Replica]:
    """Returns the replicas that this request may use now."""
    return [
        replica for replica in replicas if replica.worker not in excluded and workers.is_live(replica.worker)
    ]


def pick_replica(
    candidates: Sequence[Replica], workers: WorkerView, previous: WorkerId | None, rng: RandomSource
) -> Replica:
    """Returns the less loaded of two candidates drawn at random.

    A candidate on the worker of the hop before wins a tie: its activation stays where it is.

    Args:
        candidates: At least one.
        workers: Load.
        previous: Worker of the hop before, if there is one.
        rng: Draws the two.
    """
    count = len(candidates)
    if count == 1:
        return candidates[0]
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1))
    best = candidates[first]
    other = candidates[second + (second >= first)]
    score, other_score = workers.load(best.worker), workers.load(other.worker)
    if other_score < score:
        best, score = other, other_score
    if previous is not None and best.worker != previous:
        for candidate in candidates:
            if candidate.worker == previous and workers.load(previous) <= score:
                return candidate
    return best

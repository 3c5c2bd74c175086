"""A worker as placement sees it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, inf, log2

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.network import MeasuredLink
from services.scheduler.workers.holdings import Held

_FINEST_S = 0.001


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that accepts commands.

    Attributes:
        id: Its name.
        tags: Its tags.
        attributes: Facts about it.
        stages: What it holds.
        leaving: Whether it is to be drained: nothing is placed on it, and what it holds serves until it is held elsewhere.
        since_s: When it connected, on the clock of the decision; stages do not move to a worker that is new.
        wait_s: Expected wait of a request there, `coarse_wait_s`.
        links: Measured links from it, by the worker at the other end.
    """

    id: WorkerId
    tags: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict)
    stages: Mapping[StageKey, Held] = field(default_factory=dict)
    leaving: bool = False
    since_s: float = -inf
    wait_s: float = 0.0
    links: Mapping[str, MeasuredLink] = field(default_factory=dict)


def coarse_wait_s(wait_s: float) -> float:
    """Returns a wait rounded down to a power of two of milliseconds; less than one counts as none.

    Workers whose loads differ a little are equally good for a stage that stays for long.
    """
    return 0.0 if wait_s < _FINEST_S else _FINEST_S * 2.0 ** floor(log2(wait_s / _FINEST_S))

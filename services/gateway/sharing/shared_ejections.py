"""Replicas that gateways keep out of routes, shared among them."""

from __future__ import annotations

from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import LiveState, Topic
from onnxmesh.live.ejection_figures import EjectionFigure
from onnxmesh.routing.ejections import EjectionObserver, Ejections

PERIOD_S = 0.5
"""Time between two looks at what other gateways have ejected."""

_INEXACT_S = 1.0
"""The end of another's ejection is known no better."""

_log = structlog.get_logger(__name__)

_Replica = tuple[StageKey, WorkerId]


class SharedEjections(EjectionObserver):
    """Tells other gateways whom this one ejects, and takes up whom they do, under the same cap.

    What is taken up is not passed on: it ends when the gateway that decided it takes it back, or with its time.

    Args:
        gateway: This gateway's id.
        live: Where it is shared.
        ejections: This gateway's own; tells of them.
        clock: Seconds, monotonic; the one that ejections are timed by.
    """

    def __init__(self, gateway: str, live: LiveState, ejections: Ejections, clock: Clock = monotonic) -> None:
        self._gateway = gateway
        self._live = live
        self._ejections = ejections
        self._clock = clock
        self._own: dict[_Replica, float] = {}
        self._taken: dict[_Replica, float] = {}
        self._declined: dict[_Replica, float] = {}
        ejections.subscribe(self)

    def on_ejected(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """Tells the others."""
        left_s = until_s - self._clock()
        if left_s > 0:
            self._own[stage, worker] = until_s
            figure = EjectionFigure(worker, stage, left_s)
            self._live.publish(Topic.EJECTION, figure.key, figure.values, left_s)

    def on_released(self, stage: StageKey) -> None:
        """Takes back what this gateway said of a stage, and takes up no more of what others have said of it."""
        for replica in [each for each in self._own if each[0] == stage]:
            del self._own[replica]
            self._live.withdraw(Topic.EJECTION, EjectionFigure(replica[1], stage, 0.0).key)
        for replica in [each for each in self._taken if each[0] == stage]:
            self._declined[replica] = self._taken.pop(replica)

    def listen(self) -> None:
        """Takes up what others have ejected, and ends what they have taken back."""
        now_s = self._clock()
        for known in (self._own, self._taken, self._declined):
            for replica in [each for each, until_s in known.items() if until_s <= now_s]:
                del known[replica]
        said: set[_Replica] = set()
        for figures in self._live.figures(Topic.EJECTION).values():
            for figure in figures:
                found = None if figure.writer == self._gateway else EjectionFigure.read(figure)
                if found is not None:
                    replica = (found.stage, found.worker)
                    said.add(replica)
                    self._take(replica, now_s + found.left_s, figure.writer)
        for replica in self._taken.keys() - said:
            del self._taken[replica]
            if replica not in self._own:
                self._ejections.drop(*replica)

    def _take(self, replica: _Replica, until_s: float, writer: str) -> None:
        known_s = max(self._taken.get(replica, 0.0), self._declined.get(replica, 0.0))
        if until_s <= known_s + _INEXACT_S:
            return
        stage, worker = replica
        why = f"gateway '{writer}' has ejected it"
        if self._ejections.adopt(stage, worker, until_s, why, self._clock()):
            self._taken[replica] = until_s
            _log.warning("replica_ejected", worker=worker, stage=stage, why=why)

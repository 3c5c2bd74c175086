"""Ejections shared among gateways: each publishes its own and adopts those of others."""

from __future__ import annotations

from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import LiveState
from onnxmesh.live.ejection_topic import EjectionCodec, SharedEjection
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.routing.ejections import EjectionObserver, Ejections

EJECTION_PERIOD_S = 0.5
"""Time between two looks at the ejections of other gateways."""

_TOLERANCE_S = 1.0
"""The end of another gateway's ejection is known to this accuracy."""

_log = structlog.get_logger(__name__)

_Replica = tuple[StageKey, WorkerId]


class EjectionSharing(EjectionObserver):
    """Publishes the ejections of this gateway, and adopts those of other gateways under the same cap.

    An adopted ejection is not published again: it ends when the gateway that decided it withdraws it, or when its time is
    over. One that this gateway has released itself is declined for the rest of its time.

    Args:
        gateway: Id of this gateway.
        live: Live state.
        ejections: The ejections of this gateway.
        clock: Seconds, monotonic; the clock of `ejections`.
    """

    def __init__(
        self, gateway: str, live: LiveState, ejections: Ejections, *, clock: Clock = monotonic
    ) -> None:
        self._gateway = gateway
        self._topic = SharedTopic(live, EjectionCodec())
        self._ejections = ejections
        self._clock = clock
        self._own: dict[_Replica, float] = {}
        self._adopted: dict[_Replica, float] = {}
        self._declined: dict[_Replica, float] = {}
        ejections.subscribe(self)

    def on_ejected(self, stage: StageKey, worker: WorkerId, until_s: float) -> None:
        """Publishes an ejection of this gateway."""
        remaining_s = until_s - self._clock()
        if remaining_s > 0:
            self._own[stage, worker] = until_s
            self._topic.publish(SharedEjection(worker, stage, remaining_s), remaining_s)

    def on_released(self, stage: StageKey) -> None:
        """Withdraws this gateway's ejections of a stage, and declines those that it had adopted."""
        for replica in [each for each in self._own if each[0] == stage]:
            del self._own[replica]
            self._topic.withdraw(SharedEjection(replica[1], stage, 0.0))
        for replica in [each for each in self._adopted if each[0] == stage]:
            self._declined[replica] = self._adopted.pop(replica)

    def exchange(self) -> None:
        """Adopts new ejections of other gateways, and lifts adopted ones that were withdrawn."""
        now_s = self._clock()
        for known in (self._own, self._adopted, self._declined):
            for replica in [each for each, until_s in known.items() if until_s <= now_s]:
                del known[replica]
        published: set[_Replica] = set()
        for items in self._topic.received().values():
            for each in items:
                if each.writer != self._gateway:
                    replica = (each.item.stage, each.item.worker)
                    published.add(replica)
                    self._adopt(replica, now_s + each.item.remaining_s, each.writer)
        for replica in self._adopted.keys() - published:
            del self._adopted[replica]
            if replica not in self._own:
                self._ejections.drop(*replica)

    def _adopt(self, replica: _Replica, until_s: float, writer: str) -> None:
        known_s = max(self._adopted.get(replica, 0.0), self._declined.get(replica, 0.0))
        if until_s <= known_s + _TOLERANCE_S:
            return
        stage, worker = replica
        why = f"gateway '{writer}' has ejected it"
        if self._ejections.adopt(stage, worker, until_s, why, self._clock()):
            self._adopted[replica] = until_s
            _log.warning("replica_ejected", worker=worker, stage=stage, why=why)

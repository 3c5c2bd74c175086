"""Outlier detection: replicas that fail, or are far slower than their peers, are ejected from routes for a while.

Source: Envoy, "Outlier detection": consecutive errors, ejection times that grow, a cap on the share ejected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from onnxmesh.estimation.smoothed_average import smoothed
from onnxmesh.ids import WorkerId
from onnxmesh.quantities import time_text
from onnxmesh.routing.policy_settings import PolicySettings

_LATENCY_SMOOTHING = 0.1


@dataclass(slots=True)
class ReplicaHealth:
    """Observations of one replica.

    Attributes:
        kind: Replicas of one kind should be equally fast.
        num_errors: Failures since the last answer.
        num_samples: Answers since the last ejection.
        latency_s: Moving average of the latency without queueing.
        num_ejections: Ejections in a row; decreases again while the replica does well.
        ejected_until_s: End of its ejection; 0: it was never ejected.
        why: Reason of its last ejection.
    """

    kind: str
    num_errors: int = 0
    num_samples: int = 0
    latency_s: float = 0.0
    num_ejections: int = 0
    ejected_until_s: float = 0.0
    why: str = ""


class OutlierDetector:
    """Decides which replicas of one stage to eject, by how their requests end. Pure: the time is given.

    Args:
        replicas: Worker and kind of each replica.
        settings: When to eject, and for how long.
    """

    def __init__(self, replicas: Iterable[tuple[WorkerId, str]], settings: PolicySettings) -> None:
        self._health = {worker: ReplicaHealth(kind) for worker, kind in replicas}
        self._settings = settings

    def __getitem__(self, worker: WorkerId) -> ReplicaHealth:
        return self._health[worker]

    @property
    def cap(self) -> int:
        """The most replicas that may be ejected at once."""
        num = len(self._health)
        return min(num - 1, max(1, int(self._settings.max_ejected * num))) if num else 0

    def num_ejected(self, now_s: float) -> int:
        """Returns how many replicas are ejected now."""
        return sum(health.ejected_until_s > now_s for health in self._health.values())

    def observe_answer(self, worker: WorkerId, latency_s: float, now_s: float) -> float | None:
        """Records an answer and its latency on that replica, without queueing.

        Returns:
            The end of the ejection that this causes, None if it causes none.
        """
        health = self._health.get(worker)
        if health is None:
            return None
        health.num_errors = 0
        health.num_samples += 1
        weight = max(_LATENCY_SMOOTHING, 1 / health.num_samples)
        health.latency_s = smoothed(health.latency_s, latency_s, weight)
        since_s = now_s - health.ejected_until_s
        if health.num_ejections and since_s > self._settings.ejection_s * health.num_ejections:
            health.num_ejections -= 1
            health.ejected_until_s = now_s
        if health.num_samples % self._settings.min_samples:
            return None
        peers = [
            other.latency_s
            for other in self._health.values()
            if other is not health
            and other.kind == health.kind
            and other.num_samples >= self._settings.min_samples
        ]
        if len(peers) < self._settings.min_peers:
            return None
        typical_s = median(peers)
        if health.latency_s <= self._settings.slow_factor * typical_s:
            return None
        why = f"takes {time_text(health.latency_s)}, its peers {time_text(typical_s)}"
        return self._eject(health, why, now_s)

    def observe_failure(self, worker: WorkerId, now_s: float) -> float | None:
        """Records a failure that is the replica's fault.

        Returns:
            The end of the ejection that this causes, None if it causes none.
        """
        health = self._health.get(worker)
        if health is None:
            return None
        health.num_errors += 1
        if health.num_errors < self._settings.max_errors:
            return None
        return self._eject(health, f"{health.num_errors} failures in a row", now_s)

    def adopt(self, worker: WorkerId, until_s: float, why: str, now_s: float) -> bool:
        """Adopts an ejection that another gateway decided; returns whether that changes anything.

        It counts for the cap, and not for the length of the replica's next ejection here.
        """
        health = self._health.get(worker)
        if health is None or until_s <= max(now_s, health.ejected_until_s):
            return False
        if health.ejected_until_s <= now_s and self.num_ejected(now_s) >= self.cap:
            return False
        health.ejected_until_s = until_s
        health.why = why
        return True

    def end_ejection(self, worker: WorkerId) -> None:
        """Ends a replica's ejection."""
        if (health := self._health.get(worker)) is not None:
            health.ejected_until_s = 0.0

    def release_ejections(self) -> None:
        """Ends every ejection."""
        for health in self._health.values():
            health.ejected_until_s = 0.0

    def inherit(self, previous: OutlierDetector, kept: Iterable[WorkerId], now_s: float) -> None:
        """Copies the observations of kept replicas from before a change of the stage's replicas.

        Where fewer replicas make the cap smaller, the ejections that end first end now.
        """
        for worker in kept:
            health = previous[worker]
            health.kind = self._health[worker].kind
            self._health[worker] = health
        ejected = [health for health in self._health.values() if health.ejected_until_s > now_s]
        ejected.sort(key=lambda health: health.ejected_until_s, reverse=True)
        for health in ejected[self.cap :]:
            health.ejected_until_s = 0.0

    def _eject(self, health: ReplicaHealth, why: str, now_s: float) -> float | None:
        if health.ejected_until_s > now_s or self.num_ejected(now_s) >= self.cap:
            return None
        health.num_ejections += 1
        length_s = min(self._settings.ejection_s * health.num_ejections, self._settings.max_ejection_s)
        health.ejected_until_s = now_s + length_s
        health.num_errors = health.num_samples = 0
        health.why = why
        return health.ejected_until_s

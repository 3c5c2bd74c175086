"""Replicas that are kept out of routes for a while: they fail, or are far slower than their peers.

Source: Envoy, "Outlier detection": consecutive errors, ejection times that grow, a cap on the share ejected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from onnxmesh.ids import WorkerId
from onnxmesh.routing.policy_settings import PolicySettings

_LATENCY_SMOOTHING = 0.1


@dataclass(slots=True)
class Health:
    """What was seen of one replica.

    Attributes:
        kind: Replicas of one kind should be equally fast.
        num_errors: Failures since the last answer.
        num_samples: Answers seen since the last ejection.
        latency_s: Smoothed, queueing apart.
        num_ejections: Ejections in a row; falls again while it does well.
        ejected_until_s: When its ejection ends; 0: it never was ejected.
        why: What ejected it last.
    """

    kind: str
    num_errors: int = 0
    num_samples: int = 0
    latency_s: float = 0.0
    num_ejections: int = 0
    ejected_until_s: float = 0.0
    why: str = ""


class Outliers:
    """The replicas of one stage, judged by how their requests end. Pure: the time is given.

    Args:
        replicas: Each replica's worker and kind.
        settings: When to eject, and for how long.
    """

    def __init__(self, replicas: Iterable[tuple[WorkerId, str]], settings: PolicySettings) -> None:
        self._health = {worker: Health(kind) for worker, kind in replicas}
        self._settings = settings

    def __getitem__(self, worker: WorkerId) -> Health:
        return self._health[worker]

    @property
    def cap(self) -> int:
        """How many may be ejected at once."""
        num = len(self._health)
        return min(num - 1, max(1, int(self._settings.max_ejected * num))) if num else 0

    def num_ejected(self, now_s: float) -> int:
        """Replicas that are ejected now."""
        return sum(health.ejected_until_s > now_s for health in self._health.values())

    def answered(self, worker: WorkerId, latency_s: float, now_s: float) -> float | None:
        """Takes an answer: how long it took on that replica, queueing apart.

        Returns:
            Until when this ejects the replica, None if it does not.
        """
        health = self._health.get(worker)
        if health is None:
            return None
        health.num_errors = 0
        health.num_samples += 1
        weight = max(_LATENCY_SMOOTHING, 1 / health.num_samples)
        health.latency_s += weight * (latency_s - health.latency_s)
        quiet_s = now_s - health.ejected_until_s
        if health.num_ejections and quiet_s > self._settings.ejection_s * health.num_ejections:
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
        usual_s = median(peers)
        if health.latency_s <= self._settings.slow_factor * usual_s:
            return None
        why = f"takes {health.latency_s * 1e3:.3g} ms, its peers {usual_s * 1e3:.3g} ms"
        return self._eject(health, why, now_s)

    def failed(self, worker: WorkerId, now_s: float) -> float | None:
        """Takes a failure that is the replica's fault.

        Returns:
            Until when this ejects the replica, None if it does not.
        """
        health = self._health.get(worker)
        if health is None:
            return None
        health.num_errors += 1
        if health.num_errors < self._settings.max_errors:
            return None
        return self._eject(health, f"{health.num_errors} failures in a row", now_s)

    def told(self, worker: WorkerId, until_s: float, why: str, now_s: float) -> bool:
        """Takes up an ejection that somebody else decided; returns whether that changes anything.

        It counts for the cap, and not for how long the replica's next ejection here lasts.
        """
        health = self._health.get(worker)
        if health is None or until_s <= max(now_s, health.ejected_until_s):
            return False
        if health.ejected_until_s <= now_s and self.num_ejected(now_s) >= self.cap:
            return False
        health.ejected_until_s = until_s
        health.why = why
        return True

    def lift(self, worker: WorkerId) -> None:
        """Ends a replica's ejection."""
        if (health := self._health.get(worker)) is not None:
            health.ejected_until_s = 0.0

    def release(self) -> None:
        """Ends every ejection: what is left is worse."""
        for health in self._health.values():
            health.ejected_until_s = 0.0

    def take_over(self, previous: Outliers, kept: Iterable[WorkerId], now_s: float) -> None:
        """Takes what was known of replicas before the stage's replicas changed.

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

    def _eject(self, health: Health, why: str, now_s: float) -> float | None:
        if health.ejected_until_s > now_s or self.num_ejected(now_s) >= self.cap:
            return None
        health.num_ejections += 1
        length_s = min(self._settings.ejection_s * health.num_ejections, self._settings.max_ejection_s)
        health.ejected_until_s = now_s + length_s
        health.num_errors = health.num_samples = 0
        health.why = why
        return health.ejected_until_s

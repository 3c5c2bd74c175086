"""Typical compute time of each kind of worker, learned from all workers of the kind together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxmesh.estimation.smoothed_average import smoothed
from onnxmesh.routing.policy_settings import PolicySettings


class KindSpeeds:
    """Typical compute time of each kind among the replicas of one stage. Pure.

    The estimate of a single replica comes from few requests, and the least of many such estimates is too low by chance.
    The estimate of a kind comes from many more.

    Args:
        kinds: Each replica's kind, in the order of the stage's replicas.
        settings: Parameters of the policy.

    Source: James and Stein, "Estimation with Quadratic Loss", 1961: the positive part of the shrinkage, for one replica.
    """

    def __init__(self, kinds: Sequence[str], settings: PolicySettings) -> None:
        self._names = list(dict.fromkeys(kinds))
        numbers = {name: number for number, name in enumerate(self._names)}
        self._kind = [numbers[name] for name in kinds]
        self._of: NDArray[np.intp] = np.array(self._kind, np.intp)
        self._typical_s: NDArray[np.float64] = np.zeros(len(self._names))
        self._num = [0] * len(self._names)
        self._alike = settings.alike
        self._step = settings.smoothing / max(1.0, len(kinds) ** 0.5)

    def observe(self, index: int, compute_s: float) -> None:
        """Records the compute time of a request on a replica."""
        kind = self._kind[index]
        self._num[kind] += 1
        typical_s = self._typical_s.item(kind)
        self._typical_s[kind] = smoothed(typical_s, compute_s, max(self._step, 1.0 / self._num[kind]))

    def shrunk_s(self, index: int, compute_s: float) -> float:
        """Returns the estimate of a replica with its own average: that of its kind if near, its own if far off."""
        typical_s = self._typical_s.item(self._kind[index])
        off_s, limit_s = compute_s - typical_s, self._alike * typical_s
        return typical_s if abs(off_s) <= limit_s else typical_s + off_s * (1.0 - (limit_s / off_s) ** 2)

    def typical_s(self, chosen: NDArray[np.bool_], otherwise_s: float) -> NDArray[np.float64]:
        """Returns the typical time of the chosen replicas' kinds.

        An unmeasured kind is taken to be as slow as the slowest known one, and not faster than `otherwise_s`: fast workers
        answer first, and a slow kind taken for one of them would be flooded until its own first answer.
        """
        typical_s = self._typical_s[self._of[chosen]]
        typical_s[typical_s == 0.0] = max(otherwise_s, self._typical_s.max(initial=0.0))
        return typical_s

    def inherit(self, previous: KindSpeeds) -> None:
        """Copies the estimates of kinds from before a change of the stage's replicas."""
        for number, name in enumerate(self._names):
            if name in previous._names:
                old = previous._names.index(name)
                self._typical_s[number], self._num[number] = previous._typical_s[old], previous._num[old]

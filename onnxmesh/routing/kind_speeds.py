"""What requests take on workers of one kind, learned from all of them together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.policy_settings import PolicySettings


class KindSpeeds:
    """The usual time of each kind among the replicas of one stage. Pure.

    A single replica's figure is of few requests. Whoever picks the least of many such figures picks those that are too low by
    chance; the kind's figure is of many more.

    Args:
        kinds: Each replica's kind, in the order of the stage's columns.
        settings: The figures to go by.

    Source: James and Stein, "Estimation with Quadratic Loss", 1961: the positive part of the shrinkage, for one replica.
    """

    def __init__(self, kinds: Sequence[str], settings: PolicySettings) -> None:
        self._names = list(dict.fromkeys(kinds))
        numbers = {name: number for number, name in enumerate(self._names)}
        self._kind = [numbers[name] for name in kinds]
        self._of: NDArray[np.intp] = np.array(self._kind, np.intp)
        self._usual_s: NDArray[np.float64] = np.zeros(len(self._names))
        self._num = [0] * len(self._names)
        self._alike = settings.alike
        self._step = settings.smoothing / max(1.0, len(kinds) ** 0.5)

    def measured(self, index: int, compute_s: float) -> None:
        """Takes what a request took on a replica."""
        kind = self._kind[index]
        self._num[kind] += 1
        usual_s = self._usual_s.item(kind)
        self._usual_s[kind] = usual_s + max(self._step, 1.0 / self._num[kind]) * (compute_s - usual_s)

    def shrunk_s(self, index: int, compute_s: float) -> float:
        """Returns what a replica takes that measured so much: its kind's figure if near, its own if far off."""
        usual_s = self._usual_s.item(self._kind[index])
        off_s, limit_s = compute_s - usual_s, self._alike * usual_s
        return usual_s if abs(off_s) <= limit_s else usual_s + off_s * (1.0 - (limit_s / off_s) ** 2)

    def usual_s(self, chosen: NDArray[np.bool_], otherwise_s: float) -> NDArray[np.float64]:
        """Returns the usual time of the chosen replicas' kinds.

        A kind that nobody has measured is taken to be as slow as the slowest known one, and not faster than `otherwise_s`: fast
        workers answer first, and a slow kind taken for one of them would be flooded until its own first answer.
        """
        usual_s = self._usual_s[self._of[chosen]]
        usual_s[usual_s == 0.0] = max(otherwise_s, self._usual_s.max(initial=0.0))
        return usual_s

    def take_over(self, previous: KindSpeeds) -> None:
        """Takes what was known of kinds before the stage's replicas changed."""
        for number, name in enumerate(self._names):
            if name in previous._names:
                old = previous._names.index(name)
                self._usual_s[number], self._num[number] = previous._usual_s[old], previous._num[old]

"""What one chooser knows of workers: who is up, and how much work each has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import WorkerId

USUAL_SMOOTHING = 0.1
"""Weight of what was seen last against what was seen before."""


class WorkerBoard:
    """Workers in columns; a worker's slot is its place in each. Pure: the time is given.

    Work is told in seconds of computing. A worker's own report has the work of everyone; this chooser knows its own
    part of that at once and to the point, so a report is taken as the work of *others*. As it grows old, the worker is
    expected to have what it usually has: a worker that just said it is idle is a better choice than one that said so
    a while ago.

    Attributes:
        live: Whether frames can be sent to it.
        draining: Whether it takes nothing new.
        up: Live and not draining.
        silent: Whether it has said nothing for longer than it should: others go first.
        num_silent: How many are.
        others_s: Work of others there, as of `heard_s`.
        usual_s: The same, smoothed over reports and what requests waited there.
        heard_s: When it was last heard of.
        own_s: Work that this chooser has in flight there, at whatever hop of its route it is.
        own_there_s: The most of it that can be there: what was at the last report, and what set out since.
    """

    def __init__(self) -> None:
        self._slots: dict[WorkerId, int] = {}
        self._free: list[int] = []
        self._leaving: set[int] = set()
        self._num_own: list[int] = []
        self.live: list[bool] = []
        self.draining: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.up: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.silent: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.num_silent = 0
        self.others_s: NDArray[np.float64] = np.zeros(0)
        self.usual_s: NDArray[np.float64] = np.zeros(0)
        self.heard_s: NDArray[np.float64] = np.zeros(0)
        self.own_s: NDArray[np.float64] = np.zeros(0)
        self.own_there_s: NDArray[np.float64] = np.zeros(0)

    def slot(self, worker: WorkerId) -> int:
        """Returns a worker's slot; one that is new starts live and without work."""
        slot = self._slots.get(worker)
        if slot is None:
            if not self._free:
                self._grow()
            slot = self._slots[worker] = self._free.pop()
            self._num_own[slot] = 0
            self.live[slot] = self.up[slot] = True
            self.draining[slot] = False
            self.others_s[slot] = self.usual_s[slot] = self.heard_s[slot] = 0.0
            self.own_s[slot] = self.own_there_s[slot] = 0.0
        return slot

    def drop(self, worker: WorkerId) -> None:
        """Drops a worker, if it is there. Its slot is free once nothing is in flight there."""
        slot = self._slots.pop(worker, None)
        if slot is None:
            return
        self.set_silent(slot, False)
        if self._num_own[slot]:
            self._leaving.add(slot)
        else:
            self._free.append(slot)

    def set_live(self, slot: int, live: bool) -> None:
        """Takes whether frames can be sent to a worker; one that is gone has no work."""
        self.live[slot] = live
        self.up[slot] = live and not self.draining[slot]
        if not live:
            self.others_s[slot] = self.usual_s[slot] = 0.0

    def set_silent(self, slot: int, silent: bool) -> None:
        """Takes whether a worker has said nothing for longer than it should."""
        self.num_silent += int(silent) - int(self.silent[slot])
        self.silent[slot] = silent

    def set_draining(self, slot: int, draining: bool) -> None:
        """Takes whether a worker finishes what it has and takes nothing new."""
        self.draining[slot] = draining
        self.up[slot] = self.live[slot] and not draining

    def report(self, worker: WorkerId, work_s: float, now_s: float) -> None:
        """Takes a worker's report of all the work that it has."""
        slot = self.slot(worker)
        own_s = self.own_s.item(slot)
        others_s = max(0.0, work_s - own_s)
        self.others_s[slot] = others_s
        self._saw(slot, others_s)
        self.own_there_s[slot] = min(own_s, work_s)
        self.heard_s[slot] = now_s

    def expect(self, slots: NDArray[np.intp], work_s: NDArray[np.float64], now_s: float) -> None:
        """Takes how much work of others is to be expected on each of these workers from now on."""
        self.others_s[slots] = self.usual_s[slots] = work_s
        self.heard_s[slots] = now_s

    def waited(self, slot: int, wait_s: float, own_s: float) -> None:
        """Takes how long a request waited there, and how much of this chooser's own work was ahead of it.

        The rest was the work of others.
        """
        self._saw(slot, max(0.0, wait_s - own_s))

    def begin(self, slot: int, work_s: float) -> None:
        """Takes that this chooser sends so much work to a worker."""
        self._num_own[slot] += 1
        self.own_s[slot] += work_s
        self.own_there_s[slot] += work_s

    def end(self, slot: int, work_s: float) -> None:
        """Takes that this chooser's work there is over, done or not."""
        self._num_own[slot] -= 1
        # Sums of floats drift; what nobody has in flight is nothing.
        self.own_s[slot] = max(0.0, self.own_s[slot] - work_s) if self._num_own[slot] else 0.0
        if not self._num_own[slot] and slot in self._leaving:
            self._leaving.remove(slot)
            self._free.append(slot)

    def num_own(self, worker: WorkerId) -> int:
        """Requests of this chooser that are in flight on a worker."""
        slot = self._slots.get(worker)
        return 0 if slot is None else self._num_own[slot]

    def work_s(
        self, slots: NDArray[np.intp], fades_s: NDArray[np.float64], now_s: float
    ) -> NDArray[np.float64]:
        """Returns the work that is expected to wait on each of these workers.

        Args:
            slots: The workers.
            fades_s: For each, the age at which its last report is worth as much as what it reports usually.
            now_s: The time.
        """
        usual_s = self.usual_s[slots]
        age_s = now_s - self.heard_s[slots]
        age_s += fades_s
        work_s = self.others_s[slots]
        work_s -= usual_s
        work_s *= fades_s
        work_s /= age_s
        work_s += usual_s
        work_s += np.minimum(self.own_s[slots], self.own_there_s[slots])
        return work_s

    def most_work_s(self, slot: int) -> float:
        """Returns what the work that is expected to wait on a worker does not exceed."""
        return max(self.usual_s.item(slot), self.others_s.item(slot)) + self.own_s.item(slot)

    def _saw(self, slot: int, others_s: float) -> None:
        self.usual_s[slot] += USUAL_SMOOTHING * (others_s - self.usual_s.item(slot))

    def _grow(self) -> None:
        size = len(self._num_own)
        more = max(16, size)
        self._free.extend(range(size + more - 1, size - 1, -1))
        self._num_own.extend([0] * more)
        self.live.extend([False] * more)
        self.draining, self.up, self.silent = (
            np.concatenate([column, np.zeros(more, np.bool_)])
            for column in (self.draining, self.up, self.silent)
        )
        self.others_s, self.usual_s, self.heard_s, self.own_s, self.own_there_s = (
            np.concatenate([column, np.zeros(more)])
            for column in (self.others_s, self.usual_s, self.heard_s, self.own_s, self.own_there_s)
        )

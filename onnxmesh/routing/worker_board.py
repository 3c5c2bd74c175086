"""Board of workers: liveness and work of each, as one gateway or scheduler knows them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onnxmesh.estimation.smoothed_average import smoothed
from onnxmesh.ids import WorkerId

TYPICAL_SMOOTHING = 0.1
"""Weight of a new observation in the moving average of a worker's typical work."""


class WorkerBoard:
    """State of every worker in columns; a worker's slot is its index in each. Pure: the time is given.

    Work is measured in seconds of compute. A worker reports the work of all gateways together; this process knows its
    own part exactly and at once, so the rest of a report is the work of *others*. As a report ages, the worker is
    expected to have its typical work: a worker that just reported to be idle is a better choice than one that did so a
    while ago.

    Attributes:
        live: Whether frames can be sent to it.
        draining: Whether it accepts nothing new.
        up: Live and not draining.
        suspect: Whether its heartbeat is overdue: others go first.
        num_suspect: Number of suspect workers.
        others_s: Work of others there at the time `reported_s`.
        typical_s: Moving average of `others_s`, over reports and the waits of requests.
        reported_s: Time of its last report.
        own_s: Work that this process has in flight there, at whatever hop of its route it is.
        own_arrived_s: Upper bound of the part that has arrived there: queued at the last report, or sent since.
    """

    def __init__(self) -> None:
        self._slots: dict[WorkerId, int] = {}
        self._free: list[int] = []
        self._to_free: set[int] = set()
        self._num_own: list[int] = []
        self.live: list[bool] = []
        self.draining: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.up: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.suspect: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.num_suspect = 0
        self.others_s: NDArray[np.float64] = np.zeros(0)
        self.typical_s: NDArray[np.float64] = np.zeros(0)
        self.reported_s: NDArray[np.float64] = np.zeros(0)
        self.own_s: NDArray[np.float64] = np.zeros(0)
        self.own_arrived_s: NDArray[np.float64] = np.zeros(0)

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
            self.others_s[slot] = self.typical_s[slot] = self.reported_s[slot] = 0.0
            self.own_s[slot] = self.own_arrived_s[slot] = 0.0
        return slot

    def remove(self, worker: WorkerId) -> None:
        """Removes a worker, if present. Its slot is reused once nothing of this process is in flight there."""
        slot = self._slots.pop(worker, None)
        if slot is None:
            return
        self.set_suspect(slot, False)
        if self._num_own[slot]:
            self._to_free.add(slot)
        else:
            self._free.append(slot)

    def set_live(self, slot: int, live: bool) -> None:
        """Sets whether frames can be sent to a worker; one that is not live has no work."""
        self.live[slot] = live
        self.up[slot] = live and not self.draining[slot]
        if not live:
            self.others_s[slot] = self.typical_s[slot] = 0.0

    def set_suspect(self, slot: int, suspect: bool) -> None:
        """Sets whether the heartbeat of a worker is overdue."""
        self.num_suspect += int(suspect) - int(self.suspect[slot])
        self.suspect[slot] = suspect

    def set_draining(self, slot: int, draining: bool) -> None:
        """Sets whether a worker finishes its requests and accepts nothing new."""
        self.draining[slot] = draining
        self.up[slot] = self.live[slot] and not draining

    def observe_report(self, worker: WorkerId, work_s: float, now_s: float) -> None:
        """Records a worker's report of all its work."""
        slot = self.slot(worker)
        own_s = self.own_s.item(slot)
        others_s = max(0.0, work_s - own_s)
        self.others_s[slot] = others_s
        self._average(slot, others_s)
        self.own_arrived_s[slot] = min(own_s, work_s)
        self.reported_s[slot] = now_s

    def set_expected(self, slots: NDArray[np.intp], work_s: NDArray[np.float64], now_s: float) -> None:
        """Sets the work of others that is expected on each of these workers from now on."""
        self.others_s[slots] = self.typical_s[slots] = work_s
        self.reported_s[slots] = now_s

    def observe_wait(self, slot: int, wait_s: float, own_s: float) -> None:
        """Records how long a request waited there, and how much of this process's own work was ahead of it.

        The rest was the work of others.
        """
        self._average(slot, max(0.0, wait_s - own_s))

    def begin(self, slot: int, work_s: float) -> None:
        """Adds work that this process sends to a worker."""
        self._num_own[slot] += 1
        self.own_s[slot] += work_s
        self.own_arrived_s[slot] += work_s

    def end(self, slot: int, work_s: float) -> None:
        """Removes work that this process had sent to a worker, done or not."""
        self._num_own[slot] -= 1
        # Sums of floats drift: without a request in flight the work is exactly 0.
        self.own_s[slot] = max(0.0, self.own_s[slot] - work_s) if self._num_own[slot] else 0.0
        if not self._num_own[slot] and slot in self._to_free:
            self._to_free.remove(slot)
            self._free.append(slot)

    def num_own(self, worker: WorkerId) -> int:
        """Returns how many requests of this process are in flight on a worker."""
        slot = self._slots.get(worker)
        return 0 if slot is None else self._num_own[slot]

    def work_s(
        self, slots: NDArray[np.intp], fades_s: NDArray[np.float64], now_s: float
    ) -> NDArray[np.float64]:
        """Returns the work that is expected to wait on each of these workers.

        Args:
            slots: The workers.
            fades_s: For each, the age at which its last report weighs as much as its typical work.
            now_s: The time.
        """
        typical_s = self.typical_s[slots]
        age_s = now_s - self.reported_s[slots]
        age_s += fades_s
        work_s = self.others_s[slots]
        work_s -= typical_s
        work_s *= fades_s
        work_s /= age_s
        work_s += typical_s
        work_s += np.minimum(self.own_s[slots], self.own_arrived_s[slots])
        return work_s

    def most_work_s(self, slot: int) -> float:
        """Returns an upper bound of the work that is expected to wait on a worker."""
        return max(self.typical_s.item(slot), self.others_s.item(slot)) + self.own_s.item(slot)

    def _average(self, slot: int, others_s: float) -> None:
        self.typical_s[slot] = smoothed(self.typical_s.item(slot), others_s, TYPICAL_SMOOTHING)

    def _grow(self) -> None:
        size = len(self._num_own)
        more = max(16, size)
        self._free.extend(range(size + more - 1, size - 1, -1))
        self._num_own.extend([0] * more)
        self.live.extend([False] * more)
        self.draining, self.up, self.suspect = (
            np.concatenate([column, np.zeros(more, np.bool_)])
            for column in (self.draining, self.up, self.suspect)
        )
        self.others_s, self.typical_s, self.reported_s, self.own_s, self.own_arrived_s = (
            np.concatenate([column, np.zeros(more)])
            for column in (self.others_s, self.typical_s, self.reported_s, self.own_s, self.own_arrived_s)
        )

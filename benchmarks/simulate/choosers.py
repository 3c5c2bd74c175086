"""Ways to choose a worker: ours, the usual ones, and one that knows everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from math import inf
from random import Random

import numpy as np

from benchmarks.simulate.fleet import STAGE, Fleet, Worker
from benchmarks.simulate.scenario import CROSS_ZONE_S, IN_ZONE_S, REQUEST_BYTES, ZONES
from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Balancer, NoRoute, Ticket
from onnxmesh.routing.locality import Locality
from onnxmesh.routing.policy import Ask
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table import RoutedStage


class Chooser(ABC):
    """How one gateway chooses. It hears what a gateway hears, when a gateway hears it.

    Args:
        fleet: For the oracle; others look at ids and zones alone.
        stage: The replicas.
        zone: Number of the gateway's zone.
        rng: Draws.
    """

    name: str

    def __init__(self, fleet: Fleet, stage: RoutedStage, zone: int, rng: Random) -> None:
        self.fleet = fleet
        self.stage = stage
        self.zone = zone
        self.rng = rng
        self.dead: set[WorkerId] = set()

    @abstractmethod
    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        """Returns whom the request is sent to; None: it is refused."""

    def ended(self, worker: Worker, compute_s: float | None, waited_s: float, now_s: float) -> None:  # noqa: B027 - most do not care
        """Hears that a request is over; without a compute time it failed."""

    def heard(  # noqa: B027 - most do not care
        self, worker: Worker, num_requests: int, work_s: float, said_s: float, now_s: float
    ) -> None:
        """Hears a worker's report."""

    def lost(self, worker: Worker) -> None:
        """Hears that the stream to a worker broke."""
        self.dead.add(worker.id)

    def usable(self, excluded: Collection[WorkerId]) -> list[Worker]:
        """Returns who is live and not excluded."""
        if not self.dead and not excluded:
            return self.fleet.workers
        return [each for each in self.fleet.workers if each.id not in self.dead and each.id not in excluded]


class Mesh(Chooser):
    """`onnxmesh.routing`, the very code that gateways run."""

    name = "onnxmesh"

    def __init__(self, fleet: Fleet, stage: RoutedStage, zone: int, rng: Random) -> None:
        super().__init__(fleet, stage, zone, rng)
        self._stages = (stage,)
        self._by_id = {worker.id: worker for worker in fleet.workers}
        self._balancer = Balancer(Origin(f"g{zone}", Locality("r", ZONES[zone])), rng)
        self._tickets: dict[WorkerId, list[Ticket]] = {}

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        ask = Ask(excluded=excluded, remaining_s=remaining_s, num_bytes=REQUEST_BYTES)
        route = self._balancer.pick_route(self._stages, self._is_live, now_s, ask)
        if isinstance(route, NoRoute):
            return None
        ticket = self._balancer.begin(self._stages, route, now_s)
        self._tickets.setdefault(route[0].worker, []).append(ticket)
        return self._by_id[route[0].worker]

    def ended(self, worker: Worker, compute_s: float | None, waited_s: float, now_s: float) -> None:
        ticket = self._tickets[worker.id].pop(0)
        self._balancer.end(ticket)
        if compute_s is None:
            self._balancer.failed(worker.id, (STAGE,), now_s)
        else:
            self._balancer.waited(ticket, STAGE, waited_s)
            self._balancer.answered(STAGE, worker.id, compute_s, now_s)

    def heard(self, worker: Worker, num_requests: int, work_s: float, said_s: float, now_s: float) -> None:
        self._balancer.report(worker.id, work_s, {STAGE: said_s}, now_s)

    def _is_live(self, worker: WorkerId) -> bool:
        return worker not in self.dead


class RoundRobin(Chooser):
    """One after the other."""

    name = "round robin"

    def __init__(self, fleet: Fleet, stage: RoutedStage, zone: int, rng: Random) -> None:
        super().__init__(fleet, stage, zone, rng)
        self._at = int(rng.random() * len(fleet.workers))

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        workers = self.fleet.workers
        for _ in workers:
            self._at = (self._at + 1) % len(workers)
            if workers[self._at].id not in self.dead and workers[self._at].id not in excluded:
                return workers[self._at]
        return None


class AtRandom(Chooser):
    """Anybody."""

    name = "random"

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        usable = self.usable(excluded)
        return usable[int(self.rng.random() * len(usable))] if usable else None


class _Counting(Chooser):
    """Goes by the number of requests: the worker's report and this gateway's own in flight."""

    def __init__(self, fleet: Fleet, stage: RoutedStage, zone: int, rng: Random) -> None:
        super().__init__(fleet, stage, zone, rng)
        self.reported = np.zeros(len(fleet.workers))
        self.own = np.zeros(len(fleet.workers))

    def sent(self, worker: Worker) -> Worker:
        self.own[worker.index] += 1
        return worker

    def ended(self, worker: Worker, compute_s: float | None, waited_s: float, now_s: float) -> None:
        self.own[worker.index] -= 1

    def heard(self, worker: Worker, num_requests: int, work_s: float, said_s: float, now_s: float) -> None:
        self.reported[worker.index] = num_requests


class LeastRequest(_Counting):
    """Whoever has the fewest requests, ties at random."""

    name = "least request"

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        usable = self.usable(excluded)
        if not usable:
            return None
        load = (
            (self.reported + self.own)[[each.index for each in usable]]
            if self.dead
            else self.reported + self.own
        )
        if excluded and not self.dead:
            load = load[[each.index for each in usable]]
        least = (load == load.min()).nonzero()[0]
        return self.sent(usable[int(least[int(self.rng.random() * len(least))])])


class PowerOfTwo(_Counting):
    """The one of two drawn at random that has fewer requests."""

    name = "power of two"

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        usable = self.usable(excluded)
        if not usable:
            return None
        draws = [usable[int(self.rng.random() * len(usable))] for _ in range(2)]
        return self.sent(min(draws, key=lambda each: self.reported[each.index] + self.own[each.index]))


class Oracle(Chooser):
    """Knows every queue at this very moment, and what all that is in it and on its way to it will take."""

    name = "oracle"

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Worker | None:
        best, best_s = None, inf
        for worker in self.usable(excluded):
            if not worker.alive:
                continue
            way_s = IN_ZONE_S if worker.zone == self.zone else CROSS_ZONE_S
            # What is on the way works off what is there: it waits only for what is left when it comes.
            wait_s = max(0.0, self.fleet.left_s(worker) - way_s)
            done_s = 2 * way_s + wait_s + worker.mean_s
            if done_s < best_s:
                best, best_s = worker, done_s
        return best if best_s <= remaining_s else None


CHOOSERS: tuple[type[Chooser], ...] = (Oracle, Mesh, LeastRequest, PowerOfTwo, AtRandom, RoundRobin)

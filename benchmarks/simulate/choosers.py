"""Policies that choose workers: ours, common ones, and one that knows everything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

import numpy as np

from benchmarks.simulate.fleet import Fleet, Run, Worker
from benchmarks.simulate.placing import Table
from benchmarks.simulate.scenario import REQUEST_BYTES, ZONES, latency_s
from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Balancer, Ticket
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import Locality


@dataclass(frozen=True, slots=True)
class Choice:
    """The workers chosen for one request.

    Attributes:
        workers: One for each stage.
        table: The route table that they were chosen from.
        ticket: Data of the chooser.
    """

    workers: tuple[Worker, ...]
    table: Table
    ticket: Ticket = ()


@dataclass(frozen=True, slots=True)
class Load:
    """The load that a worker reports.

    Attributes:
        num_runs: Queued and running.
        work_s: Their expected computing time.
        mean_s: Mean computing time of a run.
    """

    num_runs: int
    work_s: float
    mean_s: float

    @classmethod
    def of(cls, worker: Worker) -> Load:
        """Returns the load of a worker now."""
        return cls(worker.num_runs, worker.work_s, worker.observed_s)


class Chooser(ABC):
    """The policy of one gateway. It gets the reports that a gateway gets, at the same times.

    Args:
        fleet: For the oracle; others look at ids and zones alone.
        table: The first route table.
        zone: Number of the gateway's zone.
        rng: Source of randomness.
    """

    name: str

    def __init__(self, fleet: Fleet, table: Table, zone: int, rng: Random) -> None:
        self.fleet = fleet
        self.zone = zone
        self.rng = rng
        self.dead: dict[WorkerId, int] = {}
        self.on_table(table)

    def on_table(self, table: Table) -> None:
        """Puts a route table in force."""
        self.table = table
        self.workers = [
            [self.fleet.by_id[replica.worker] for replica in stage.replicas] for stage in table.stages
        ]
        self.generations = {each.worker: each.generation for stage in table.stages for each in stage.replicas}
        for worker, generation in list(self.dead.items()):
            if self.generations.get(worker, generation) > generation:
                del self.dead[worker]

    @abstractmethod
    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Choice | None:
        """Returns the workers for a request; None: it is refused."""

    def ended(self, choice: Choice, runs: Sequence[Run] | None, now_s: float) -> None:  # noqa: B027 - most do not care
        """Records the end of a request; without runs it was not answered."""

    def observe_load(self, worker: Worker, load: Load, now_s: float) -> None:  # noqa: B027 - most do not care
        """Records a worker's load."""

    def lost(self, worker: Worker, generation: int) -> None:
        """Records that the stream to a start of a worker broke."""
        if self.generations.get(worker.id, generation) <= generation:
            self.dead[worker.id] = generation

    def usable(self, stage: int, excluded: Collection[WorkerId]) -> list[Worker]:
        """Returns the workers that hold a stage, are live and not excluded."""
        if not self.dead and not excluded:
            return self.workers[stage]
        return [each for each in self.workers[stage] if each.id not in self.dead and each.id not in excluded]


class Mesh(Chooser):
    """`onnxmesh.routing`, the code that gateways run."""

    name = "onnxmesh"

    def __init__(self, fleet: Fleet, table: Table, zone: int, rng: Random) -> None:
        self._balancer = Balancer(Origin(f"g{zone}", Locality("r", ZONES[zone])), rng)
        super().__init__(fleet, table, zone, rng)

    def on_table(self, table: Table) -> None:
        super().on_table(table)
        self._balancer.remove((), table.removed)

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Choice | None:
        query = RouteQuery(excluded=excluded, remaining_s=remaining_s, num_bytes=REQUEST_BYTES)
        stages = self.table.stages
        route = self._balancer.pick_route(stages, self._is_live, now_s, query)
        if isinstance(route, NoRoute):
            return None
        ticket = self._balancer.begin(stages, route, now_s)
        return Choice(tuple(self.fleet.by_id[each.worker] for each in route), self.table, ticket)

    def ended(self, choice: Choice, runs: Sequence[Run] | None, now_s: float) -> None:
        for run in runs or ():
            self._balancer.observe_wait(choice.ticket, run.stage, run.waited_s)
            self._balancer.observe_answer(run.stage, run.worker.id, run.compute_s, now_s)
        self._balancer.end(choice.ticket)

    def observe_load(self, worker: Worker, load: Load, now_s: float) -> None:
        if worker.id in self.generations:
            held = {stage.key: load.mean_s for stage in self.table.stages}
            self._balancer.observe_report(worker.id, load.work_s, held, now_s)

    def lost(self, worker: Worker, generation: int) -> None:
        super().lost(worker, generation)
        if worker.id in self.dead and worker.id in self.generations:
            self._balancer.mark_lost(worker.id)

    def _is_live(self, worker: WorkerId) -> bool:
        return worker not in self.dead


class _ByStage(Chooser):
    """Chooses for each stage by itself."""

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Choice | None:
        workers = []
        for stage in range(len(self.workers)):
            worker = self.pick(stage, excluded)
            if worker is None:
                return None
            workers.append(worker)
        self.sent(workers)
        return Choice(tuple(workers), self.table)

    @abstractmethod
    def pick(self, stage: int, excluded: Collection[WorkerId]) -> Worker | None:
        """Returns the worker for a stage."""

    def sent(self, workers: Sequence[Worker]) -> None:
        """Records that a request was sent."""


class RoundRobin(_ByStage):
    """The workers in turn."""

    name = "round robin"

    def __init__(self, fleet: Fleet, table: Table, zone: int, rng: Random) -> None:
        super().__init__(fleet, table, zone, rng)
        self._at = [int(rng.random() * len(workers)) for workers in self.workers]

    def pick(self, stage: int, excluded: Collection[WorkerId]) -> Worker | None:
        workers = self.workers[stage]
        for _ in workers:
            self._at[stage] = (self._at[stage] + 1) % len(workers)
            worker = workers[self._at[stage]]
            if worker.id not in self.dead and worker.id not in excluded:
                return worker
        return None


class AtRandom(_ByStage):
    """Any worker, at random."""

    name = "random"

    def pick(self, stage: int, excluded: Collection[WorkerId]) -> Worker | None:
        usable = self.usable(stage, excluded)
        return usable[int(self.rng.random() * len(usable))] if usable else None


class _Counting(_ByStage):
    """Counts requests: the worker's report and this gateway's own in flight."""

    def __init__(self, fleet: Fleet, table: Table, zone: int, rng: Random) -> None:
        self.reported = np.zeros(len(fleet.workers))
        self.own = np.zeros(len(fleet.workers))
        super().__init__(fleet, table, zone, rng)

    def sent(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            self.own[worker.index] += 1

    def ended(self, choice: Choice, runs: Sequence[Run] | None, now_s: float) -> None:
        for worker in choice.workers:
            self.own[worker.index] -= 1

    def observe_load(self, worker: Worker, load: Load, now_s: float) -> None:
        self.reported[worker.index] = load.num_runs


class LeastRequest(_Counting):
    """The worker with the fewest requests, ties at random."""

    name = "least request"

    def on_table(self, table: Table) -> None:
        super().on_table(table)
        self._indices = [np.array([each.index for each in workers], np.intp) for workers in self.workers]

    def pick(self, stage: int, excluded: Collection[WorkerId]) -> Worker | None:
        usable = self.usable(stage, excluded)
        if not usable:
            return None
        indices = (
            self._indices[stage]
            if usable is self.workers[stage]
            else np.array([each.index for each in usable], np.intp)
        )
        load = self.reported[indices] + self.own[indices]
        least = (load == load.min()).nonzero()[0]
        return usable[int(least[int(self.rng.random() * len(least))])]


class PowerOfTwo(_Counting):
    """The one of two drawn at random that has fewer requests."""

    name = "power of two"

    def pick(self, stage: int, excluded: Collection[WorkerId]) -> Worker | None:
        usable = self.usable(stage, excluded)
        if not usable:
            return None
        draws = [usable[int(self.rng.random() * len(usable))] for _ in range(2)]
        return min(draws, key=lambda each: self.reported[each.index] + self.own[each.index])


class Oracle(Chooser):
    """Knows every queue at this moment, and the computing time of all that is in it or being sent to it.

    Chooses the worker that completes the first stage first, then the next one.
    """

    name = "oracle"

    def choose(self, excluded: Collection[WorkerId], remaining_s: float, now_s: float) -> Choice | None:
        chosen: list[Worker] = []
        zone, at_s = self.zone, 0.0
        for stage in range(len(self.workers)):
            is_last = stage == len(self.workers) - 1
            best, best_s = None, inf
            for worker in self.usable(stage, excluded):
                if self.table.stages[stage].key not in worker.held:
                    continue  # It died, or does not hold the stage any more.
                # While a run is being sent the queue shrinks: it waits only for what remains when it arrives.
                there_s = at_s + latency_s(zone, worker.zone)
                done_s = max(there_s, self.fleet.left_s(worker)) + worker.mean_s
                if is_last:
                    done_s += latency_s(worker.zone, self.zone)
                if done_s < best_s:
                    best, best_s = worker, done_s
            if best is None or best_s > remaining_s:
                return None
            chosen.append(best)
            zone, at_s = best.zone, best_s
        return Choice(tuple(chosen), self.table)


CHOOSERS: tuple[type[Chooser], ...] = (Oracle, Mesh, LeastRequest, PowerOfTwo, AtRandom, RoundRobin)

"""One scenario under one policy: gateways, workers, a scheduler and the network between them, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from random import Random

import numpy as np
import simpy

from benchmarks.simulate.arrivals import gaps
from benchmarks.simulate.choosers import Chooser, Load, Oracle
from benchmarks.simulate.faults import Faults
from benchmarks.simulate.fleet import Fleet, Worker
from benchmarks.simulate.gateway import Gateway
from benchmarks.simulate.placing import Scheduler, Table, stages_of
from benchmarks.simulate.request_counters import Outcome, RequestCounters
from benchmarks.simulate.scenario import CROSS_ZONE_S, ZONES, Scenario

WARM_UP = 0.2
"""Requests that run before any is counted, as a fraction of those that are."""

HEARTBEAT_S = 1.0
"""Interval at which a worker reports its load to every gateway."""


class World:
    """Runs one scenario.

    Args:
        scenario: What happens.
        chooser: The policy of the gateways.
        seed: The same for all policies that are compared, so that the same requests arrive at the same times.
        progress: Called for every thousand requests.

    Attributes:
        fleet: The workers.
        scheduler: Places the stages.
    """

    def __init__(
        self, scenario: Scenario, chooser: type[Chooser], seed: int, progress: Callable[[int], None]
    ) -> None:
        self._scenario = scenario
        self._env = simpy.Environment()
        seeds = np.random.SeedSequence(seed).spawn(3 + len(ZONES))
        self.fleet = Fleet(self._env, scenario, np.random.default_rng(seeds[0]))
        self.scheduler = Scheduler(self._env, self.fleet, stages_of(scenario), self._publish_table)
        self._capacity_per_s = _capacity_per_s(self.fleet, self.scheduler.table)
        self._all_over = self._env.event()
        num_warm_up = int(scenario.num_requests * WARM_UP)
        self._counters = RequestCounters(num_warm_up, scenario.num_requests, self._all_over.succeed, progress)
        choices = Random(int(seeds[1].generate_state(1)[0]))
        self._gateways = [
            Gateway(
                self._env,
                self.fleet,
                chooser(self.fleet, self.scheduler.table, number // scenario.num_gateways, choices),
                number,
                scenario,
                self._counters,
            )
            for number in range(len(ZONES) * scenario.num_gateways)
        ]
        self._faults = Faults(
            self._env,
            scenario,
            self.fleet,
            self.scheduler,
            self._gateways,
            np.random.default_rng(seeds[2]),
            (num_warm_up + scenario.num_requests) / (scenario.load * self._capacity_per_s),
        )
        self._arrivals = [np.random.default_rng(each) for each in seeds[3:]]
        self._chooser = chooser

    def run(self) -> Outcome:
        """Runs the scenario and returns its outcome."""
        for zone in range(len(ZONES)):
            self._env.process(self._requests(zone))
        if self._chooser is not Oracle:
            for worker in self.fleet.workers:
                self._env.process(self._heartbeats(worker))
        self._faults.begin()
        self._env.run(until=self._all_over)
        return self._counters.outcome(self._chooser.name, self._capacity_per_s, self._faults.num_restarted)

    def _requests(self, zone: int) -> Generator[simpy.Event, None, None]:
        scenario = self._scenario
        share = scenario.skew if zone == 0 else (1 - scenario.skew) / (len(ZONES) - 1)
        rate = scenario.load * self._capacity_per_s * share
        rng = Random(zone)
        for gap_s in gaps(rate, scenario.cv, self._arrivals[zone]):
            yield self._env.timeout(gap_s)
            now_s = self._env.now
            request = self._counters.begin(zone, now_s, now_s + scenario.deadline_s)
            if request is None:
                return
            live = [each for each in self._gateways if each.alive]
            near = [each for each in live if each.zone == zone] or live
            near[int(rng.random() * len(near))].take(request)

    def _heartbeats(self, worker: Worker) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(HEARTBEAT_S * worker.index / len(self.fleet.workers))
        while True:
            if worker.alive:
                load = Load.of(worker)
                self.fleet.later(CROSS_ZONE_S, partial(self._report_load, worker, load))
            yield self._env.timeout(HEARTBEAT_S)

    def _report_load(self, worker: Worker, load: Load) -> None:
        for gateway in self._gateways:
            gateway.observe_load(worker, load)

    def _publish_table(self, table: Table) -> None:
        for gateway in self._gateways:
            gateway.on_table(table)


def _capacity_per_s(fleet: Fleet, table: Table) -> float:
    """Returns how many requests per second the first placement can do: those of its narrowest stage."""
    return min(
        sum(
            1.0 / (worker.mean_s * len(worker.held))
            for worker in (fleet.by_id[replica.worker] for replica in stage.replicas)
        )
        for stage in table.stages
    )

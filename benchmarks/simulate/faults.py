"""What goes wrong in a scenario, and what its operators do."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import simpy
from numpy.random import Generator as Draws

from benchmarks.simulate.fleet import Fleet
from benchmarks.simulate.gateway import Gateway
from benchmarks.simulate.placing import Scheduler
from benchmarks.simulate.scenario import ZONES, Scenario

RESTART_S = 0.1
"""From the end of a drained worker's process to its next start."""


PAUSE_S = 0.8
"""From there to the next drain."""


class Faults:
    """Has workers die and get slow, a zone die, workers be drained.

    Args:
        env: Virtual time.
        scenario: Says what happens.
        fleet: The workers.
        scheduler: Gets what happens to workers.
        gateways: All of them.
        rng: Draws whom it happens to.
        length_s: How long the requests go on.

    Attributes:
        num_restarted: Workers that were drained and restarted.
    """

    def __init__(
        self,
        env: simpy.Environment,
        scenario: Scenario,
        fleet: Fleet,
        scheduler: Scheduler,
        gateways: Sequence[Gateway],
        rng: Draws,
        length_s: float,
    ) -> None:
        self._env = env
        self._scenario = scenario
        self._fleet = fleet
        self._scheduler = scheduler
        self._gateways = gateways
        self._rng = rng
        self._length_s = length_s
        self.num_restarted = 0

    def begin(self) -> None:
        """Lets it all take its course."""
        self._env.process(self._single())
        if self._scenario.zone_lost:
            self._fleet.later(self._length_s / 2, self._lose_zone)
        if self._scenario.rolling:
            self._env.process(self._drain_all())

    def _single(self) -> Generator[simpy.Event, None, None]:
        scenario, workers = self._scenario, self._fleet.workers
        order = self._rng.permutation(len(workers)).tolist()
        num_deaths, num_slow = (int(share * len(workers)) for share in (scenario.deaths, scenario.slow))
        yield self._env.timeout(self._length_s * 0.4)
        for index in order[num_deaths : num_deaths + num_slow]:
            workers[index].mean_s *= scenario.slow_by
        for index in order[:num_deaths]:
            self._fleet.kill(workers[index])
            self._scheduler.died([workers[index]])
            yield self._env.timeout(self._length_s * 0.5 / num_deaths)

    def _lose_zone(self) -> None:
        lost = len(ZONES) - 1
        for gateway in self._gateways:
            gateway.alive = gateway.alive and gateway.zone != lost
        workers = [worker for worker in self._fleet.workers if worker.zone == lost]
        for worker in workers:
            self._fleet.kill(worker)
        self._scheduler.died(workers)

    def _drain_all(self) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(self._length_s * 0.15)
        for worker in self._fleet.workers:
            yield self._scheduler.drain(worker)
            yield self._env.timeout(RESTART_S)
            self._fleet.start(worker)
            self._scheduler.joined(worker)
            self.num_restarted += 1
            yield self._env.timeout(PAUSE_S)

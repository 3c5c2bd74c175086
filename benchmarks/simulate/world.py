"""One scenario under one way to choose: gateways, workers and the network between them, in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import inf
from random import Random

import numpy as np
import simpy

from benchmarks.simulate.arrivals import gaps
from benchmarks.simulate.choosers import Chooser, Oracle
from benchmarks.simulate.fleet import Fleet, Request, Worker
from benchmarks.simulate.scenario import (
    ANSWER_BYTES,
    CROSS_ZONE_S,
    IN_ZONE_S,
    REQUEST_BYTES,
    SLO_S,
    ZONES,
    Scenario,
)

WARM_UP = 0.2
"""So many more requests run before any is counted, as a share of those that are."""

HEARTBEAT_S = 1.0
"""A worker tells everyone its load this often."""

MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to.

    Attributes:
        chooser: Who chose.
        p50_s: Median latency of the requests that were answered.
        p99_s: Their 99th percentile.
        goodput: Share of all requests that were answered within the SLO.
        failed: Share that was not answered: refused, late, or out of attempts.
        cross_zone: Share of all bytes that crossed from zone to zone.
        num_requests: How many were counted.
    """

    chooser: str
    p50_s: float
    p99_s: float
    goodput: float
    failed: float
    cross_zone: float
    num_requests: int


class World:
    """Runs one scenario.

    Args:
        scenario: What happens.
        chooser: How gateways choose.
        seed: The same for everyone who is compared: then the same requests come at the same times.
        progress: Told of every thousand requests.
    """

    def __init__(
        self, scenario: Scenario, chooser: type[Chooser], seed: int, progress: Callable[[int], None]
    ) -> None:
        self._scenario = scenario
        self._progress = progress
        self._env = simpy.Environment()
        seeds = np.random.SeedSequence(seed).spawn(3 + len(ZONES))
        self._fleet = Fleet(self._env, scenario.num_workers, np.random.default_rng(seeds[0]))
        stage = self._fleet.stage()
        choices = Random(int(seeds[1].generate_state(1)[0]))
        self._gateways = [
            [chooser(self._fleet, stage, zone, choices) for _ in range(scenario.num_gateways)]
            for zone in range(len(ZONES))
        ]
        self._everyone = [gateway for zone in self._gateways for gateway in zone]
        self._numbers = {id(gateway): number for number, gateway in enumerate(self._everyone)}
        self._hears = chooser is not Oracle
        self._faults = np.random.default_rng(seeds[2])
        self._arrivals = [np.random.default_rng(each) for each in seeds[3:]]
        self._num_warm_up = int(scenario.num_requests * WARM_UP)
        self._num_begun = self._num_over = 0
        self._latencies: list[float] = []
        self._num_good = self._num_failed = 0
        self._bytes = self._cross_bytes = 0
        self._all_over = self._env.event()
        self._name = chooser.name

    def run(self) -> Outcome:
        """Returns what it came to."""
        for zone in range(len(ZONES)):
            self._env.process(self._requests(zone))
        if self._hears:
            for worker in self._fleet.workers:
                self._env.process(self._heartbeats(worker))
        self._env.process(self._mishaps())
        self._env.run(until=self._all_over)
        counted = self._scenario.num_requests
        latencies = np.array(self._latencies) if self._latencies else np.array([inf])
        return Outcome(
            chooser=self._name,
            p50_s=float(np.percentile(latencies, 50)),
            p99_s=float(np.percentile(latencies, 99)),
            goodput=self._num_good / counted,
            failed=self._num_failed / counted,
            cross_zone=self._cross_bytes / max(1, self._bytes),
            num_requests=counted,
        )

    def _requests(self, zone: int) -> Generator[simpy.Event, None, None]:
        scenario = self._scenario
        share = scenario.skew if zone == 0 else (1 - scenario.skew) / (len(ZONES) - 1)
        rate = scenario.load * self._fleet.capacity_per_s * share
        total = self._num_warm_up + scenario.num_requests
        rng = Random(zone)
        for gap_s in gaps(rate, scenario.cv, self._arrivals[zone]):
            yield self._env.timeout(gap_s)
            if self._num_begun >= total:
                return
            number = self._num_begun
            self._num_begun += 1
            now_s = self._env.now
            gateway = self._gateways[zone][int(rng.random() * scenario.num_gateways)]
            request = Request(zone, now_s, now_s + scenario.deadline_s)
            self._send(gateway, request, number >= self._num_warm_up, frozenset(), 1)

    def _send(
        self, gateway: Chooser, request: Request, counts: bool, excluded: frozenset[str], attempt: int
    ) -> None:
        env = self._env
        worker = gateway.choose(excluded, request.deadline_s - env.now, env.now)  # type: ignore[arg-type]
        if worker is None:
            self._over(request, counts, None)
            return
        crosses = worker.zone != request.zone
        way_s = CROSS_ZONE_S if crosses else IN_ZONE_S
        request.compute_s = self._fleet.draw_s(worker)
        worker.coming_s += request.compute_s
        if counts:
            self._bytes += REQUEST_BYTES + ANSWER_BYTES
            self._cross_bytes += (REQUEST_BYTES + ANSWER_BYTES) * crosses

        def done(request: Request, computed: bool) -> None:
            report = self._report(worker, gateway) if computed else None
            self._after(way_s, lambda: back(computed, report))

        def back(computed: bool, report: tuple[int, float, float] | None) -> None:
            gateway.ended(worker, request.compute_s if computed else None, request.waited_s, env.now)
            if report is not None:
                gateway.heard(worker, *report, env.now)
            if computed:
                self._over(request, counts, env.now - request.begun_s)
                return
            if not worker.alive:
                gateway.lost(worker)
            if attempt < MAX_ATTEMPTS and request.deadline_s > env.now:
                self._send(gateway, request, counts, excluded | {worker.id}, attempt + 1)
            else:
                self._over(request, counts, None)

        request.done = done
        self._after(way_s, lambda: self._fleet.arrive(worker, request))

    def _report(self, worker: Worker, gateway: Chooser) -> tuple[int, float, float] | None:
        """Returns what goes with an answer, where the gateway has not heard it for a while."""
        number = self._numbers[id(gateway)]
        if not self._hears or self._env.now - worker.told_s.get(number, -inf) < self._scenario.report_s:
            return None
        worker.told_s[number] = self._env.now
        return (worker.num_requests, worker.num_requests * worker.said_s, worker.said_s)

    def _heartbeats(self, worker: Worker) -> Generator[simpy.Event, None, None]:
        yield self._env.timeout(HEARTBEAT_S * worker.index / len(self._fleet.workers))
        while worker.alive:
            report = (worker.num_requests, worker.num_requests * worker.said_s, worker.said_s)
            self._after(CROSS_ZONE_S, lambda report=report: self._tell(worker, report))  # type: ignore[misc]
            yield self._env.timeout(HEARTBEAT_S)

    def _tell(self, worker: Worker, report: tuple[int, float, float]) -> None:
        for gateway in self._everyone:
            gateway.heard(worker, *report, self._env.now)

    def _mishaps(self) -> Generator[simpy.Event, None, None]:
        scenario, workers = self._scenario, self._fleet.workers
        total = self._num_warm_up + scenario.num_requests
        length_s = total / (scenario.load * self._fleet.capacity_per_s)
        order = self._faults.permutation(len(workers)).tolist()
        num_deaths, num_slow = (int(share * len(workers)) for share in (scenario.deaths, scenario.slow))
        yield self._env.timeout(length_s * 0.4)
        for index in order[num_deaths : num_deaths + num_slow]:
            workers[index].mean_s *= 10
        for index in order[:num_deaths]:
            self._fleet.kill(workers[index])
            yield self._env.timeout(length_s * 0.5 / num_deaths)

    def _over(self, request: Request, counts: bool, latency_s: float | None) -> None:
        self._num_over += 1
        if self._num_over % 1000 == 0:
            self._progress(1000)
        if counts:
            if latency_s is None:
                self._num_failed += 1
            else:
                self._latencies.append(latency_s)
                self._num_good += latency_s <= SLO_S
        if self._num_over == self._num_warm_up + self._scenario.num_requests:
            self._all_over.succeed()

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        timeout = self._env.timeout(delay_s)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: call())

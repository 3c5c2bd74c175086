"""Workers in virtual time: one server and one queue each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

import numpy as np
import simpy

from benchmarks.simulate.scenario import KINDS, ZONES, Scenario
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.table.worker_facts import WorkerFacts

DEAD_TOLD_S = 0.01
"""A stream that breaks is noticed after so long."""

_LOOK_S = 0.005
"""A worker that finishes what it has looks this often whether it has."""


class End(Enum):
    """How a run ended."""

    COMPUTED = "computed"
    LATE = "late"
    LOST = "lost"
    UNHELD = "unheld"


@dataclass(slots=True, eq=False)
class Run:
    """One stage of one request, while it is sent to a worker and there.

    Attributes:
        stage: The stage.
        worker: The worker that it was sent to.
        generation: Which start of the worker that was.
        compute_s: Computing time there.
        deadline_s: When the answer is too late.
        done: Called with its end: LOST, the worker was dead or died; UNHELD, it does not hold the stage any more.
        reached_s: When it reached the worker.
        waited_s: How long it waited there.
    """

    stage: StageKey
    worker: Worker
    generation: int
    compute_s: float
    deadline_s: float
    done: Callable[[End], None] = lambda _: None
    reached_s: float = 0.0
    waited_s: float = 0.0


@dataclass(slots=True, eq=False)
class Worker:
    """One worker.

    Attributes:
        id: Its name.
        index: Its place in the fleet.
        zone: Number of its zone.
        facts: Its tags and attributes.
        mean_s: Mean computing time of a run.
        held: The stages that it serves.
        generation: Which start of it this is.
        queue: Runs that wait.
        running: The one that runs.
        ends_s: When that one ends.
        waiting_s: Computing time of the queued runs.
        coming_s: Computing time of the runs that are being sent to it; for the oracle alone.
        observed_s: Mean computing time of the runs that it has made.
        alive: Whether its process runs.
        reported_s: When it last reported its load with an answer, by number of the gateway.
    """

    id: WorkerId
    index: int
    zone: int
    facts: WorkerFacts
    mean_s: float
    held: set[StageKey] = field(default_factory=set)
    generation: int = 1
    queue: deque[Run] = field(default_factory=deque)
    running: Run | None = None
    ends_s: float = 0.0
    waiting_s: float = 0.0
    coming_s: float = 0.0
    observed_s: float = 0.0
    alive: bool = True
    reported_s: dict[int, float] = field(default_factory=dict)

    @property
    def num_runs(self) -> int:
        """Queued and running, as workers report them."""
        return len(self.queue) + (self.running is not None)

    @property
    def work_s(self) -> float:
        """Expected computing time of all of them, as it reports it."""
        return self.num_runs * self.observed_s


class Fleet:
    """All workers of a scenario. They hold nothing at first.

    Args:
        env: Virtual time.
        scenario: Says how many, and what they run.
        rng: Draws what runs take.

    Attributes:
        workers: In order of index, which is that of their ids.
        by_id: The same by name.
    """

    def __init__(self, env: simpy.Environment, scenario: Scenario, rng: np.random.Generator) -> None:
        self._env = env
        self._rng = rng
        self._noise: list[float] = []
        self.workers = [
            Worker(worker_id(index), index, index % len(ZONES), facts, _kind_s(index) / scenario.num_stages)
            for index, facts in enumerate(facts_of(scenario.num_workers))
        ]
        self.by_id = {worker.id: worker for worker in self.workers}

    def draw_s(self, worker: Worker) -> float:
        """Draws the computing time of a run there: log-normal with a coefficient of variation of a quarter."""
        if not self._noise:
            sigma = 0.2462
            self._noise = self._rng.lognormal(-(sigma**2) / 2, sigma, 4096).tolist()
        return worker.mean_s * self._noise.pop()

    def arrive(self, run: Run) -> None:
        """Queues a run that has reached its worker."""
        worker = run.worker
        worker.coming_s -= run.compute_s
        if not worker.alive or worker.generation != run.generation:
            self.later(DEAD_TOLD_S, partial(run.done, End.LOST))
            return
        if run.stage not in worker.held:
            run.done(End.UNHELD)
            return
        run.reached_s = self._env.now
        worker.queue.append(run)
        worker.waiting_s += run.compute_s
        if worker.running is None:
            self._next(worker)

    def kill(self, worker: Worker) -> None:
        """Kills a worker; its runs end as LOST."""
        worker.alive = False
        lost = [*worker.queue, *([worker.running] if worker.running else [])]
        worker.queue.clear()
        worker.held.clear()
        worker.running, worker.waiting_s = None, 0.0
        for run in lost:
            self.later(DEAD_TOLD_S, partial(run.done, End.LOST))

    def start(self, worker: Worker) -> None:
        """Restarts a dead worker; it holds nothing."""
        worker.alive = True
        worker.generation += 1
        worker.observed_s = 0.0
        worker.reported_s.clear()

    def let_go(self, worker: Worker, stage: StageKey) -> Generator[simpy.Event, None, None]:
        """Has a worker refuse a stage from now on; ends when nothing of it is left there."""
        worker.held.discard(stage)
        while any(run.stage == stage for run in (worker.running, *worker.queue) if run is not None):
            yield self._env.timeout(_LOOK_S)

    def left_s(self, worker: Worker) -> float:
        """Returns all work of a worker, runs that are being sent to it included; for the oracle alone."""
        running_s = worker.ends_s - self._env.now if worker.running is not None else 0.0
        return worker.waiting_s + worker.coming_s + running_s

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Calls after a while."""
        timeout = self._env.timeout(delay_s)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: call())

    def _next(self, worker: Worker) -> None:
        while worker.queue:
            run = worker.queue.popleft()
            worker.waiting_s -= run.compute_s
            if run.deadline_s <= self._env.now:
                run.done(End.LATE)
                continue
            worker.running = run
            run.waited_s = self._env.now - run.reached_s
            worker.ends_s = self._env.now + run.compute_s
            self.later(run.compute_s, partial(self._ended, worker, run))
            return
        worker.waiting_s = 0.0

    def _ended(self, worker: Worker, run: Run) -> None:
        if worker.running is not run:
            return  # it died
        worker.observed_s += (0.1 if worker.observed_s else 1.0) * (run.compute_s - worker.observed_s)
        worker.running = None
        self._next(worker)
        run.done(End.COMPUTED)


def worker_id(index: int) -> WorkerId:
    """Returns the name of a worker; names are in order of index."""
    return WorkerId(f"w{index:05}")


def facts_of(num_workers: int) -> list[WorkerFacts]:
    """Returns tags and attributes of each worker."""
    facts = [
        WorkerFacts(
            (),
            {
                "region": "r",
                "zone": ZONES[index % len(ZONES)],
                "device.kind": _kind(index),
                "speed.flops_per_s": repr(1e9 / _kind_s(index)),
            },
        )
        for index in range(len(ZONES) * len(KINDS))
    ]
    return [facts[index % len(facts)] for index in range(num_workers)]


def _kind(index: int) -> str:
    return list(KINDS)[index // len(ZONES) % len(KINDS)]


def _kind_s(index: int) -> float:
    return KINDS[_kind(index)]

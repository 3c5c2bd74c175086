"""Workers in virtual time: one server and one queue each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import simpy
from numpy.random import Generator

from benchmarks.simulate.scenario import KINDS, ZONES
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.table import Replica, RoutedStage
from onnxmesh.routing.worker_facts import WorkerFacts

STAGE = StageKey("model/1/0")

DEAD_TOLD_S = 0.01
"""A stream that breaks is noticed after so long."""


@dataclass(slots=True)
class Request:
    """One request on its way.

    Attributes:
        zone: Where it came up.
        begun_s: When.
        deadline_s: When nobody wants the answer any more.
        compute_s: What its run takes on the worker that it is on; drawn when it is sent there.
        reached_s: When it came to that worker.
        waited_s: How long it waited there.
        done: Told how it ended there: True if it was computed.
    """

    zone: int
    begun_s: float
    deadline_s: float
    compute_s: float = 0.0
    reached_s: float = 0.0
    waited_s: float = 0.0
    done: Callable[[Request, bool], None] = lambda *_: None


@dataclass(slots=True)
class Worker:
    """One worker.

    Attributes:
        id: Its name.
        index: Its place in the fleet.
        zone: Number of its zone.
        kind: Name of its kind.
        mean_s: What a request takes on average.
        queue: Requests that wait.
        running: The one that runs.
        ends_s: When that one is done.
        waiting_s: What those in the queue will take.
        coming_s: What those on their way to it will take; for the oracle alone.
        said_s: What it believes a request to take, from those it ran.
        alive: Whether it is.
    """

    id: WorkerId
    index: int
    zone: int
    kind: str
    mean_s: float
    queue: deque[Request] = field(default_factory=deque)
    running: Request | None = None
    ends_s: float = 0.0
    waiting_s: float = 0.0
    coming_s: float = 0.0
    said_s: float = 0.0
    alive: bool = True
    told_s: dict[int, float] = field(default_factory=dict)

    @property
    def num_requests(self) -> int:
        """Requests queued and running, as workers report them."""
        return len(self.queue) + (self.running is not None)


class Fleet:
    """All workers of a scenario.

    Args:
        env: Virtual time.
        num_workers: How many.
        rng: Draws what runs take.
    """

    def __init__(self, env: simpy.Environment, num_workers: int, rng: Generator) -> None:
        self._env = env
        self._rng = rng
        self._noise: list[float] = []
        kinds = list(KINDS.items())
        self.workers = [
            Worker(WorkerId(f"w{i}"), i, i % len(ZONES), *kinds[i // len(ZONES) % len(kinds)])
            for i in range(num_workers)
        ]
        self.capacity_per_s = sum(1.0 / worker.mean_s for worker in self.workers)

    def stage(self) -> RoutedStage:
        """Returns the one stage that everybody holds, as a route table has it."""
        facts = {
            (zone, kind): WorkerFacts((), {"region": "r", "zone": ZONES[zone], "device.kind": kind})
            for zone in range(len(ZONES))
            for kind in KINDS
        }
        return RoutedStage(
            STAGE,
            tuple(
                Replica(worker.id, f"{worker.id}:1", 1, facts[worker.zone, worker.kind])
                for worker in self.workers
            ),
        )

    def draw_s(self, worker: Worker) -> float:
        """Draws what a run takes there: log-normal with a coefficient of variation of a quarter."""
        if not self._noise:
            sigma = 0.2462
            self._noise = self._rng.lognormal(-(sigma**2) / 2, sigma, 4096).tolist()
        return worker.mean_s * self._noise.pop()

    def arrive(self, worker: Worker, request: Request) -> None:
        """Takes a request that reaches a worker."""
        worker.coming_s -= request.compute_s
        if not worker.alive:
            self._later(DEAD_TOLD_S, lambda: request.done(request, False))
            return
        request.reached_s = self._env.now
        worker.queue.append(request)
        worker.waiting_s += request.compute_s
        if worker.running is None:
            self._next(worker)

    def kill(self, worker: Worker) -> None:
        """Ends a worker; whoever has requests there is told."""
        worker.alive = False
        lost = [*worker.queue, *([worker.running] if worker.running else [])]
        worker.queue.clear()
        worker.running, worker.waiting_s = None, 0.0
        for request in lost:
            self._later(DEAD_TOLD_S, partial(request.done, request, False))

    def left_s(self, worker: Worker) -> float:
        """Returns all the work that a worker has and will have from requests on their way; nobody else can know."""
        running_s = worker.ends_s - self._env.now if worker.running is not None else 0.0
        return worker.waiting_s + worker.coming_s + running_s

    def _next(self, worker: Worker) -> None:
        while worker.queue:
            request = worker.queue.popleft()
            worker.waiting_s -= request.compute_s
            if request.deadline_s <= self._env.now:
                request.done(request, False)
                continue
            worker.running = request
            request.waited_s = self._env.now - request.reached_s
            worker.ends_s = self._env.now + request.compute_s
            self._later(request.compute_s, partial(self._ended, worker, request))
            return
        worker.waiting_s = 0.0

    def _ended(self, worker: Worker, request: Request) -> None:
        if worker.running is not request:
            return  # it died
        worker.said_s += (0.1 if worker.said_s else 1.0) * (request.compute_s - worker.said_s)
        worker.running = None
        self._next(worker)
        request.done(request, True)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        timeout = self._env.timeout(delay_s)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: call())

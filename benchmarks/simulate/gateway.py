"""A gateway in virtual time: sends requests over the stages, and again where that fails."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf

import simpy

from benchmarks.simulate.choosers import Choice, Chooser, Load, Oracle
from benchmarks.simulate.fleet import End, Fleet, Run, Worker
from benchmarks.simulate.placing import PUBLISHED_S, Table
from benchmarks.simulate.request_counters import Request, RequestCounters
from benchmarks.simulate.scenario import ACTIVATION_BYTES, ANSWER_BYTES, REQUEST_BYTES, Scenario, latency_s
from onnxmesh.ids import WorkerId

MAX_ATTEMPTS = 3

_TABLE_WAIT_S = 2 * PUBLISHED_S
"""Wait for a new table where the worker does not hold the stage any more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    """One route tried for one request."""

    request: Request
    choice: Choice
    runs: tuple[Run, ...]
    number: int
    excluded: frozenset[WorkerId]


class Gateway:
    """One of the gateways of a zone.

    Args:
        env: Virtual time.
        fleet: The workers.
        chooser: Chooses workers.
        number: Its index.
        scenario: How often workers report their load to it.
        counters: Counts the requests.

    Attributes:
        zone: Number of its zone.
        alive: A dead one's requests fail.
    """

    def __init__(
        self,
        env: simpy.Environment,
        fleet: Fleet,
        chooser: Chooser,
        number: int,
        scenario: Scenario,
        counters: RequestCounters,
    ) -> None:
        self._env = env
        self._fleet = fleet
        self._chooser = chooser
        self._number = number
        self._report_s = inf if isinstance(chooser, Oracle) else scenario.report_s
        self._counters = counters
        self.zone = chooser.zone
        self.alive = True

    def on_table(self, table: Table) -> None:
        """Puts a new route table in force."""
        self._chooser.on_table(table)

    def observe_load(self, worker: Worker, load: Load) -> None:
        """Records a worker's load."""
        self._chooser.observe_load(worker, load, self._env.now)

    def take(self, request: Request) -> None:
        """Answers a request, or fails it."""
        self._try(request, 1, frozenset())

    def _try(self, request: Request, number: int, excluded: frozenset[WorkerId]) -> None:
        now_s = self._env.now
        choice = self._chooser.choose(excluded, request.deadline_s - now_s, now_s) if self.alive else None
        if choice is None:
            self._counters.failed(request)
            return
        runs = tuple(
            Run(stage.key, worker, worker.generation, self._fleet.draw_s(worker), request.deadline_s)
            for stage, worker in zip(choice.table.stages, choice.workers, strict=True)
        )
        for run in runs:
            run.worker.coming_s += run.compute_s
        self._forward(_Attempt(request, choice, runs, number, excluded), 0)

    def _forward(self, attempt: _Attempt, hop: int) -> None:
        run = attempt.runs[hop]
        origin = attempt.runs[hop - 1].worker.zone if hop else self.zone
        num_bytes = ACTIVATION_BYTES if hop else REQUEST_BYTES
        self._counters.sent(attempt.request, num_bytes, crosses=origin != run.worker.zone)
        run.done = partial(self._ran, attempt, hop)
        self._fleet.later(latency_s(origin, run.worker.zone), partial(self._fleet.arrive, run))

    def _ran(self, attempt: _Attempt, hop: int, end: End) -> None:
        worker = attempt.runs[hop].worker
        back_s = latency_s(worker.zone, self.zone)
        if end is not End.COMPUTED:
            for run in attempt.runs[hop + 1 :]:
                run.worker.coming_s -= run.compute_s
            self._fleet.later(back_s, partial(self._failed, attempt, hop, end))
            return
        load = self._report(worker)
        if hop + 1 == len(attempt.runs):
            self._counters.sent(attempt.request, ANSWER_BYTES, crosses=worker.zone != self.zone)
            self._fleet.later(back_s, partial(self._answered, attempt, load))
            return
        if load is not None:
            self._fleet.later(back_s, partial(self.observe_load, worker, load))
        self._forward(attempt, hop + 1)

    def _answered(self, attempt: _Attempt, load: Load | None) -> None:
        if not self.alive:
            self._counters.failed(attempt.request)
            return
        self._chooser.ended(attempt.choice, attempt.runs, self._env.now)
        if load is not None:
            self.observe_load(attempt.runs[-1].worker, load)
        spilled = any(run.worker.zone != self.zone for run in attempt.runs)
        self._counters.answered(attempt.request, self._env.now, spilled=spilled)

    def _failed(self, attempt: _Attempt, hop: int, end: End) -> None:
        run, request = attempt.runs[hop], attempt.request
        self._chooser.ended(attempt.choice, None, self._env.now)
        if end is End.LOST:
            self._chooser.lost(run.worker, run.generation)
        if request.deadline_s <= self._env.now:
            self._counters.failed(request)
        elif end is End.UNHELD and attempt.choice.table is self._chooser.table:
            # The worker is well, only the route was outdated.
            self._fleet.later(_TABLE_WAIT_S, partial(self._again, attempt, run.worker, unheld=True))
        else:
            self._again(attempt, run.worker, unheld=end is End.UNHELD)

    def _again(self, attempt: _Attempt, worker: Worker, *, unheld: bool) -> None:
        if unheld and attempt.choice.table is not self._chooser.table:
            self._try(attempt.request, attempt.number, attempt.excluded)
        elif attempt.number < MAX_ATTEMPTS:
            self._try(attempt.request, attempt.number + 1, attempt.excluded | {worker.id})
        else:
            self._counters.failed(attempt.request)

    def _report(self, worker: Worker) -> Load | None:
        """Returns the load that an answer carries, where the last report is old enough; else None."""
        if self._env.now - worker.reported_s.get(self._number, -inf) < self._report_s:
            return None
        worker.reported_s[self._number] = self._env.now
        return Load.of(worker)

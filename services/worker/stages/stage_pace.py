"""How fast a stage is, and when it gains by waiting for more. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onnxmesh.errors import MeshError
from services.worker.requests.batch_rule import BatchRule
from services.worker.requests.stage_request import StageRequest
from services.worker.stages.batch_delay import BatchDelay
from services.worker.stages.stage_queue import Next
from services.worker.stages.stage_run import RunOutcome

MEAN_WEIGHT = 0.1
"""Weight of a run against those before, in the mean that gateways plan with."""


class StagePace:
    """Learns from a stage's runs, and from when requests come.

    Attributes:
        mean_compute_s: Seconds of a run for each request; 0 before the first.

    Args:
        rule: What may run together; None: nothing.
        on_computed: Is told how long each run took, in seconds.
    """

    def __init__(self, rule: BatchRule | None, on_computed: Callable[[float], None]) -> None:
        self._rule = rule
        self._delay = None if rule is None else BatchDelay(rule.max_delay_s)
        self._max_rows = 1 if rule is None else rule.max_rows
        self._on_computed = on_computed
        self.mean_compute_s = 0.0

    def arrived(self, at_s: float) -> None:
        """Takes that a request came."""
        if self._delay is not None:
            self._delay.arrived(at_s)

    def is_complete(self, run: Next) -> bool:
        """Whether a run would not become larger, whoever came."""
        return not 0 < run.num_rows < self._max_rows

    def worth_until_s(self, run: Next, since_s: float) -> float:
        """Returns until when it is worth it to wait for more, since a given moment; `-inf`: not at all."""
        if self._delay is None or self.is_complete(run):
            return -math.inf
        worth_s = since_s + self._delay.worth_s(run.num_requests, run.num_rows)
        return min(worth_s, run.deadline_s - self._delay.run_s(run.num_rows))

    def ran(self, requests: Sequence[StageRequest], outcomes: Sequence[RunOutcome]) -> None:
        """Takes what came of a run, or of several where these requests were run one by one."""
        for outcome in outcomes:
            if not isinstance(outcome.computed, MeshError):
                weight = MEAN_WEIGHT if self.mean_compute_s else 1.0
                own_s = outcome.compute_ns / outcome.batch / 1e9
                self.mean_compute_s += weight * (own_s - self.mean_compute_s)
        together = outcomes[0].batch == len(requests)
        for each in outcomes[:1] if together else outcomes:
            if not isinstance(each.computed, MeshError):
                self._on_computed(each.compute_ns / 1e9)
        if self._rule is None or self._delay is None or not together:
            return
        if not isinstance(outcomes[0].computed, MeshError):
            self._delay.ran(sum(self._rule.rows_of(requests)), outcomes[0].compute_ns / 1e9)

"""Pace of a stage: mean compute time of its requests, and until when it is worth waiting for a larger batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from onnxmesh.errors import MeshError
from onnxmesh.estimation.smoothed_average import SmoothedAverage
from services.worker.queueing.batch_delay import BatchDelay
from services.worker.queueing.stage_queue import NextBatch
from services.worker.requests.batch_rule import BatchRule
from services.worker.requests.run_outcome import RunOutcome
from services.worker.requests.stage_request import StageRequest

MEAN_WEIGHT = 0.1
"""Weight of a new run in the moving average that gateways plan with."""


class StagePace:
    """Observes the arrivals and the runs of a stage.

    Args:
        rule: Which requests may run together; None: each runs alone.
        on_run: Called with the seconds of each run.
    """

    def __init__(self, rule: BatchRule | None, on_run: Callable[[float], None]) -> None:
        self._rule = rule
        self._delay = None if rule is None else BatchDelay(rule.max_delay_s)
        self._max_rows = 1 if rule is None else rule.max_rows
        self._on_run = on_run
        self._mean_s = SmoothedAverage(MEAN_WEIGHT)

    @property
    def mean_compute_s(self) -> float:
        """Moving average of a run's seconds per request; 0 before the first."""
        return self._mean_s.value or 0.0

    def observe_arrival(self, at_s: float) -> None:
        """Records the arrival of a request."""
        if self._delay is not None:
            self._delay.observe_arrival(at_s)

    def is_complete(self, batch: NextBatch) -> bool:
        """Whether no further request can join a batch."""
        return not 0 < batch.num_rows < self._max_rows

    def wait_until_s(self, batch: NextBatch, since_s: float) -> float:
        """Returns until when it is worth waiting for a larger batch, beginning at `since_s`; `-inf`: it is not."""
        if self._delay is None or self.is_complete(batch):
            return -math.inf
        until_s = since_s + self._delay.delay_s(batch.num_requests, batch.num_rows)
        return min(until_s, batch.deadline_s - self._delay.run_s(batch.num_rows))

    def observe_run(self, requests: Sequence[StageRequest], outcomes: Sequence[RunOutcome]) -> None:
        """Records the outcomes of one run, or of several where the requests ran one by one."""
        for outcome in outcomes:
            if not isinstance(outcome.computed, MeshError):
                own_s = outcome.compute_ns / outcome.batch / 1e9
                self._mean_s.observe(own_s)
        together = outcomes[0].batch == len(requests)
        for each in outcomes[:1] if together else outcomes:
            if not isinstance(each.computed, MeshError):
                self._on_run(each.compute_ns / 1e9)
        if self._rule is None or self._delay is None or not together:
            return
        # Inputs of a failed request may be missing.
        if not isinstance(outcomes[0].computed, MeshError):
            self._delay.observe_run(sum(self._rule.row_counts(requests)), outcomes[0].compute_ns / 1e9)

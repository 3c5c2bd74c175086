"""The pace of a stage."""

from __future__ import annotations

import math

import pytest

from onnxmesh.errors import ModelRunFailed
from services.worker.queueing.stage_pace import StagePace
from services.worker.queueing.stage_queue import NextBatch
from services.worker.requests.run_outcome import RunOutcome
from tests.unit.worker.stage_requests import request, rows, rule


def ran(pace, num_rows, seconds, *, batch=None):
    requests = [rows(number, 1) for number in range(num_rows)]
    outcome = RunOutcome({}, round(seconds * 1e9), batch or num_rows, num_rows)
    pace.observe_run(requests, [outcome] * num_rows)


def test_stage_pace_averages_the_seconds_of_a_request():
    """A run that requests share is divided among them; failed ones do not count."""
    seconds = []
    pace = StagePace(rule(4), seconds.append)
    ran(pace, 2, 0.4)
    assert pace.mean_compute_s == pytest.approx(0.2)
    ran(pace, 1, 0.3)
    assert pace.mean_compute_s == pytest.approx(0.2 + 0.1 * (0.3 - 0.2))
    pace.observe_run([rows(1, 1)], [RunOutcome(ModelRunFailed("no"), 10**9)])
    assert pace.mean_compute_s == pytest.approx(0.21)
    assert seconds == pytest.approx([0.4, 0.3])


def test_stage_pace_reports_each_run_of_requests_that_ran_one_by_one():
    """They do not change the estimated cost of a batch."""
    seconds = []
    pace = StagePace(rule(4), seconds.append)
    ran(pace, 2, 0.1, batch=1)
    assert seconds == pytest.approx([0.1, 0.1])


def test_stage_pace_learns_no_cost_from_a_request_without_rows():
    """Such a request runs alone, and others go on to be batched."""
    pace = StagePace(rule(4), lambda _: None)
    pace.observe_arrival(0.0)
    pace.observe_arrival(1e-6)
    pace.observe_run([rows(1)], [RunOutcome({}, 10**6)])
    assert pace.wait_until_s(NextBatch(1, 1, math.inf), 7.0) <= 7.0
    assert pace.mean_compute_s == pytest.approx(0.001)


def test_stage_pace_observes_a_failed_request_without_its_input():
    """Its rows cannot be counted, and it teaches nothing."""
    pace = StagePace(rule(4), lambda _: None)
    pace.observe_run([request(1, tensors={})], [RunOutcome(ModelRunFailed("no input"), 10**6)])
    assert pace.mean_compute_s == 0.0


def test_stage_pace_waits_only_for_batches_that_can_grow_and_before_their_deadline():
    """Without a rule, at the most rows, and for a request that runs alone it does not wait."""
    growing, full, alone = NextBatch(1, 1, math.inf), NextBatch(4, 4, math.inf), NextBatch(1, 0, math.inf)
    pace = StagePace(rule(4), lambda _: None)
    for index in range(40):
        pace.observe_arrival(index * 1e-4)
        ran(pace, 1 + index % 4, 0.004 + 1e-5 * (1 + index % 4))
    assert pace.wait_until_s(growing, 7.0) == pytest.approx(7.002, abs=1e-4)
    soon = NextBatch(1, 1, 7.003)
    assert pace.wait_until_s(soon, 7.0) == pytest.approx(7.003 - 0.00401, abs=1e-4)
    assert pace.wait_until_s(full, 7.0) == pace.wait_until_s(alone, 7.0) == -math.inf
    assert StagePace(None, lambda _: None).wait_until_s(growing, 7.0) == -math.inf

"""Steps of the model builder's child process."""

from __future__ import annotations

import errno

import pytest

from onnxmesh.errors import InvalidPlan
from services.worker.models import model_builder_child
from services.worker.models.model_builder_child import run_step


def failing(error):
    def step(job):
        raise error

    return step


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (InvalidPlan("not there"), "INVALID_PLAN", "not there"),
        (MemoryError(), "INVALID_MODEL", "not enough memory"),
        (OSError(errno.ENOSPC, "No space left"), "OVERLOADED", "no space is left"),
    ],
)
def test_run_step_returns_expected_failures(monkeypatch, error, reason, message):
    """As reason and message, from which the parent makes the error again."""
    monkeypatch.setitem(model_builder_child.STEPS, "cut", failing(error))
    answer = run_step("cut", {})
    assert answer["reason"] == reason
    assert message in answer["message"]


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyError("y"), AssertionError("odd")])
def test_run_step_returns_the_traceback_of_a_defect(monkeypatch, error):
    """It is a report for the log of the service, and no crash."""
    monkeypatch.setitem(model_builder_child.STEPS, "cut", failing(error))
    answer = run_step("cut", {})
    assert list(answer) == ["traceback"]
    assert answer["traceback"].startswith("Traceback")
    assert type(error).__name__ in answer["traceback"]

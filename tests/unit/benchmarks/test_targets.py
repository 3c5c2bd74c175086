"""A result is held against floor and goal, round by round."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.measurement import Run
from benchmarks.targets import (
    TARGETS,
    Target,
    TargetResult,
    by_added_p50,
    by_cpu,
    by_p50,
    by_throughput,
    missing_result,
    of_goal,
    target_of,
)

MORE = Target("more", "more", 0.8, 1.2)
LESS = Target("less", "less", 5.0, 2.0, "ms", less_is_better=True)
WITHOUT_FLOOR = Target("informative", "informative", None, 0.67, less_is_better=True)


def runs(*rates, cpu_us=None):
    return [Run(rate, 1000 / rate, 2000 / rate, 10.0, cpu_us or {}) for rate in rates]


def test_throughput_result_is_the_median_of_the_ratios():
    """A machine that is twice as slow in one round changes no ratio of that round."""
    result = by_throughput("identity-triton", runs(100, 50, 120), runs(100, 50, 100))
    assert result.rounds == (1.0, 1.0, 1.2)
    assert result.value == 1.0
    assert result.sides == "100.0 : 100.0 /s"


def test_latency_results_are_ratios_or_differences():
    """p50 by p50, or what is added to it."""
    assert by_p50("identity-p50", runs(100), runs(200)).rounds == (2.0,)
    assert by_added_p50("hop-memory", runs(100), runs(200)).rounds == (5.0,)


def test_cpu_result_is_that_of_some_processes_without_the_model():
    """The scheduler, which is not on the path, is left out."""
    of = runs(100, 100, cpu_us={"gateway": 120.0, "worker-0": 90.0, "scheduler": 50.0})
    result = by_cpu("cpu", of, ["gateway", "worker-0"], 10.0)
    assert result.rounds == (200.0, 200.0)
    assert result.sides == "gateway 120 + worker-0 90 - model 10.0 µs"


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (MORE, 0.79, "below"),
        (MORE, 0.8, "floor"),
        (MORE, 1.2, "goal"),
        (WITHOUT_FLOOR, 0.67, "goal"),
        (WITHOUT_FLOOR, 0.68, "told"),
        (LESS, 5.1, "below"),
        (LESS, 5.0, "floor"),
        (LESS, 2.0, "goal"),
        (LESS, -0.1, "goal"),
        (LESS, math.nan, "below"),
        (MORE, math.nan, "below"),
    ],
)
def test_verdicts(target, value, verdict):
    """Floor and goal themselves are reached; what is no number reaches neither."""
    assert TargetResult(target, (value,)).verdict == verdict


def test_missing_result_has_its_reason():
    """It has no value, and its reason."""
    result = missing_result("identity-ray", "no wheel")
    assert (result.verdict, result.reason) == ("missing", "no wheel")
    assert math.isnan(result.value)


@given(st.sampled_from(TARGETS), st.floats(1e-6, 1e6))
def test_of_goal_is_one_at_the_goal(target, value):
    """For every target what reaches the goal is at one or beyond, and nothing else is."""
    assert (of_goal(target, value) >= 1.0) == target.reaches(value, target.goal)


def test_throughput_result_without_an_answer_is_no_ratio():
    """The result is no number rather than an exception."""
    assert math.isnan(by_throughput("identity-ray", runs(100), [Run(0.0, 1.0, 1.0, 1.0)]).value)


def test_targets_have_different_keys_and_goals_beyond_floors():
    """Keys are unique; a value that reaches the goal reaches the floor."""
    assert len({target.key for target in TARGETS}) == len(TARGETS)
    assert all(target.reaches(target.goal, target.floor) for target in TARGETS if target.floor is not None)
    assert all(target_of(target.key) is target for target in TARGETS)


def test_unknown_target_is_named():
    """The error lists the keys."""
    with pytest.raises(KeyError, match=r"no target 'nothing'; there are .*identity-p50"):
        target_of("nothing")

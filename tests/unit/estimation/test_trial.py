"""Trials of two alternatives whose durations vary."""

from __future__ import annotations

from random import Random

import pytest

from onnxmesh.estimation.trial import NUM_TRIALS, TRIAL_INTERVAL, Trial


def run(trial, times, num):
    """Makes `num` runs with the durations that `times` gives; returns which used the alternative."""
    seen = []
    for number in range(num):
        alternative = trial.use_alternative()
        trial.observe(times(number, alternative), alternative=alternative)
        seen.append(alternative)
    return seen


def steady(default_s, alternative_s):
    return lambda number, alternative: alternative_s if alternative else default_s


def test_trial_runs_both_in_turns_the_default_first():
    """Whatever comes of them."""
    for alternative_s in (0.5, 2.0):
        assert run(Trial(0.1), steady(1.0, alternative_s), 2 * NUM_TRIALS) == [False, True] * NUM_TRIALS


def test_trial_prefers_the_faster_and_runs_the_other_now_and_then():
    """The alternative must be faster by the least gain."""
    for alternative_s, mostly in ((0.5, True), (0.95, False), (2.0, False)):
        seen = run(Trial(0.1), steady(1.0, alternative_s), 2 * NUM_TRIALS + 4 * TRIAL_INTERVAL)[
            2 * NUM_TRIALS :
        ]
        assert seen.count(not mostly) == 4


@pytest.mark.parametrize("cold", [{0}, {1}, {0, 1}], ids=["default", "alternative", "both"])
def test_trial_is_not_decided_by_a_slow_first_run(cold):
    """The first run of a size is slow, and a machine may be busy for a moment: the rest of the trial counts."""
    for default_s, alternative_s, mostly in ((1.0, 0.6, True), (1.0, 1.2, False)):
        typical = steady(default_s, alternative_s)
        seen = run(
            Trial(0.1),
            lambda number, alternative, typical=typical: (
                typical(number, alternative) * (4 if number in cold else 1)
            ),
            60,
        )
        assert seen[2 * NUM_TRIALS :].count(mostly) >= 54 - 54 // TRIAL_INTERVAL - 1


@pytest.mark.parametrize(("before", "after"), [((1.0, 2.0), (1.0, 0.5)), ((1.0, 0.5), (1.0, 2.0))])
def test_trial_follows_a_change_within_one_interval(before, after):
    """A trial that was faster is repeated at once."""
    trial = Trial(0.1)
    run(trial, steady(*before), 100)
    run(trial, steady(*after), TRIAL_INTERVAL + 5)
    better = after[1] < after[0]
    assert run(trial, steady(*after), TRIAL_INTERVAL).count(better) == TRIAL_INTERVAL - 1


def test_trial_keeps_its_choice_when_both_become_slower():
    """Durations of the one that is not used are old; trials renew them."""
    trial = Trial(0.1)
    run(trial, steady(1.0, 0.6), 100)
    run(trial, steady(3.0, 1.8), 16)
    assert run(trial, steady(3.0, 1.8), TRIAL_INTERVAL).count(True) == TRIAL_INTERVAL - 1


@pytest.mark.parametrize("seed", range(20))
def test_trial_prefers_the_faster_under_noise(seed):
    """Every fourth run takes up to three times as long."""
    rng = Random(seed)

    def times(number, alternative):
        return (0.6 if alternative else 1.0) * (1.0 + (2.0 * rng.random() if rng.random() < 0.25 else 0.0))

    assert run(Trial(0.1), times, 200).count(True) > 120


def test_trial_runs_the_default_until_it_was_measured():
    """Several runs may be under way at once."""
    trial = Trial(0.1)
    assert not any(trial.use_alternative() for _ in range(8))
    for _ in range(8):
        trial.observe(1.0, alternative=False)
    assert all(trial.use_alternative() for _ in range(8))

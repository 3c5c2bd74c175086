"""When an alternative that is not in use is tried again."""

from __future__ import annotations

from onnxmesh.estimation.trial_schedule import TrialSchedule


def uses_until_due(schedule):
    return next(num for num in range(1, 10_000) if schedule.is_due())


def test_trial_schedule_is_due_after_the_first_interval():
    schedule = TrialSchedule(3)
    assert [schedule.is_due() for _ in range(4)] == [False, False, True, True]


def test_trial_schedule_doubles_the_interval_up_to_the_most():
    schedule = TrialSchedule(3, most=10)
    intervals = []
    for _ in range(4):
        intervals.append(uses_until_due(schedule))
        schedule.failed()
    assert intervals == [3, 6, 10, 10]


def test_trial_schedule_starts_again_after_a_success():
    schedule = TrialSchedule(3, most=10)
    for _ in range(2):
        uses_until_due(schedule)
        schedule.failed()
    schedule.succeeded()
    assert uses_until_due(schedule) == 3


def test_trial_schedule_keeps_its_interval_without_a_most():
    schedule = TrialSchedule(4)
    schedule.failed()
    assert uses_until_due(schedule) == 4

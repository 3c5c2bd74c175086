"""Settings of a scheduler."""

from __future__ import annotations

from dataclasses import asdict

from services.scheduler.settings import STOP_GRACE_S, SchedulerSettings


def test_settings_for_a_leader_are_those_of_the_scheduler():
    settings = SchedulerSettings(
        settle_s=1, move_after_s=2, replan_after_s=3, linger_s=4, deploy_timeout_s=5, profile_s=6
    )
    found = asdict(settings.for_leader())
    assert found == {name: getattr(settings, name) for name in found}
    assert found["linger_s"] == 4


def test_settings_bound_the_stop_grace_by_the_drain():
    assert SchedulerSettings(drain_s=0.1).stop_grace_s() == 0.1
    assert SchedulerSettings(drain_s=60).stop_grace_s() == STOP_GRACE_S

"""A worker as placement sees it."""

from __future__ import annotations

from services.scheduler.workers.worker_view import coarse_wait_s

MS = 0.001


def test_coarse_wait_is_a_power_of_two_of_milliseconds():
    """So that the noise of load does not decide where a stage is for days."""
    assert [coarse_wait_s(ms * MS) / MS for ms in (0.0, 0.9, 1.0, 1.9, 2.1, 63.0, 64.0)] == [
        0,
        0,
        1,
        1,
        2,
        32,
        64,
    ]

"""Time limit of a check."""

from __future__ import annotations

from onnxmesh.graph.checks.time_limit import TimeLimit, check_clock


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_limit_expires_by_its_clock():
    """At the limit, not before."""
    clock = Clock()
    limit = TimeLimit(4.0, clock)
    clock.now_s += 3.9
    assert not limit.expired()
    clock.now_s += 0.1
    assert limit.expired()
    assert limit.reason == "not checked within 4 s"


def test_limit_does_not_count_pauses():
    """A stage must be loaded in any case."""
    clock = Clock()
    limit = TimeLimit(4.0, clock)
    with limit.paused():
        clock.now_s += 60
    assert limit.remaining_s == 4.0


def test_limit_is_shared_by_the_parts_that_remain():
    """What one part saves, the next ones have; the reason names the whole limit."""
    clock = Clock()
    limit = TimeLimit(4.0, clock)
    assert limit.share(2).remaining_s == 2.0
    clock.now_s += 1
    assert limit.share(1).remaining_s == 3.0
    assert limit.share(2).reason == "not checked within 4 s"


def test_check_clock_counts_the_work_of_this_process():
    """It never goes backwards, and work moves it."""
    clock = check_clock()
    start = clock()
    while clock() == start:
        sum(range(1000))
    assert clock() > start >= 0

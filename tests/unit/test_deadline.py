"""A deadline is a point in monotonic time."""

from __future__ import annotations

import math

from onnxmesh.deadline import Deadline
from tests.fakes.clock import Clock


def test_deadline_expires_after_its_seconds():
    clock = Clock(10.0)
    deadline = Deadline.after(2.5, clock)
    assert deadline.remaining_s(clock) == 2.5
    clock.now_s = 12.4
    assert not deadline.expired(clock)
    clock.now_s = 12.5
    assert deadline.expired(clock)
    clock.now_s = 20.0
    assert deadline.remaining_s(clock) == 0.0


def test_deadline_of_none_never_expires():
    deadline = Deadline.after(None)
    assert deadline.at_s == math.inf
    assert not deadline.expired(Clock(1e300))


def test_earlier_returns_the_earlier_deadline():
    first, second = Deadline(1.0), Deadline(2.0)
    assert first.earlier(second) is first
    assert second.earlier(first) is first

"""Deadlines of the calls of one connection, with timers and a clock of the test's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from onnxmesh.http2.server import deadlines
from onnxmesh.http2.server.deadlines import EXPIRY_DELAY_S, Deadlines


@dataclass(eq=False)
class Entry:
    """Something that expires."""

    deadline_s: float


class Timer:
    def __init__(self, delay_s, callback):
        self.delay_s = delay_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True


class Loop:
    """Keeps the timers that are set."""

    def __init__(self):
        self.timers = []

    def call_later(self, delay_s, callback):
        self.timers.append(Timer(delay_s, callback))
        return self.timers[-1]


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock: a list with one time."""
    now = [1_000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    return now


def test_deadlines_expire_with_one_timer_for_the_earliest(clock):
    """Each entry once its deadline has passed; the timer is set again for the next, and not for those without one."""
    loop, expired = Loop(), []
    entries = {n: Entry(at_s) for n, at_s in enumerate([1_005.0, 1_002.0, 1_002.5, math.inf])}
    watching = Deadlines(loop, entries, lambda entry: expired.append(entry.deadline_s))
    assert watching.next_s == math.inf
    watching.watch(1_005.0)
    watching.watch(1_002.0)
    first, second = loop.timers
    assert (first.is_cancelled, second.delay_s) == (True, 2 + EXPIRY_DELAY_S)
    clock[0] = 1_002.1
    second.callback()
    assert expired == [1_002.0]
    assert (watching.next_s, loop.timers[-1].delay_s) == (1_002.5, pytest.approx(0.4 + EXPIRY_DELAY_S))
    del entries[2]  # it ended in time
    expired.clear()
    clock[0] = 1_002.6
    loop.timers[-1].callback()
    assert (expired, watching.next_s) == ([1_002.0], 1_005.0)
    clock[0] = 1_005.0
    expired.clear()
    loop.timers[-1].callback()
    assert (expired, watching.next_s, len(loop.timers)) == ([1_005.0, 1_002.0], math.inf, 4)


def test_deadlines_in_the_past_expire_after_the_delay(clock):
    """No timer is set for a time before now; `close` stops it."""
    loop = Loop()
    watching = Deadlines(loop, {}, lambda _: None)
    watching.close()
    watching.watch(1.0)
    assert loop.timers[0].delay_s == EXPIRY_DELAY_S
    watching.close()
    assert loop.timers[0].is_cancelled

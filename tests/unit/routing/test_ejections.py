"""Ejections are applied to the boards and reported to observers; those of other gateways are adopted silently."""

from __future__ import annotations

import pytest

from onnxmesh.ids import StageKey
from tests.unit.routing.policy_bench import KEY, Bench, in_zone


class Observer:
    def __init__(self):
        self.events = []

    def on_ejected(self, stage, worker, until_s):
        self.events.append((stage, worker, until_s))

    def on_released(self, stage):
        self.events.append((stage,))


@pytest.fixture
def bench():
    return Bench(in_zone("a", "b", "c"))


@pytest.fixture
def observer(bench):
    observer = Observer()
    bench.balancer.ejections.subscribe(observer)
    return observer


def test_eject_and_release_notify_observers(bench, observer):
    ejections = bench.balancer.ejections
    ejections.eject(KEY, "a", 5.0)
    assert bench.balancer.num_ejected(4.0) == 1
    assert bench.picks(50).keys() == {"b", "c"}
    ejections.release(KEY)
    assert bench.balancer.num_ejected(4.0) == 0
    assert observer.events == [(KEY, "a", 5.0), (KEY,)]


def test_adopt_respects_the_cap_and_notifies_no_observer(bench, observer):
    ejections = bench.balancer.ejections
    assert ejections.adopt(KEY, "a", 5.0, "gateway 'g2' has ejected it", 0.0)
    assert not ejections.adopt(KEY, "b", 5.0, "one of three is the cap", 0.0)
    assert not ejections.adopt(KEY, "unknown", 5.0, "", 0.0)
    assert not ejections.adopt(StageKey("other/1/0"), "a", 5.0, "", 0.0)
    assert bench.picks(50).keys() == {"b", "c"}
    assert observer.events == []


def test_drop_ends_an_adopted_ejection(bench, observer):
    ejections = bench.balancer.ejections
    ejections.adopt(KEY, "a", 5.0, "", 0.0)
    ejections.drop(KEY, "a")
    ejections.drop(StageKey("other/1/0"), "a")
    assert bench.balancer.num_ejected(1.0) == 0
    assert observer.events == []

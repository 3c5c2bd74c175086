"""Ejections shared among gateways: without a Redis."""

from __future__ import annotations

import pytest

from onnxmesh.live.base import Topic
from tests.fakes.clock import Clock
from tests.unit.gateway.sharing.sharing_gateways import SharingGateway


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def gateways(clock):
    mesh = []
    return [SharingGateway(name, mesh, clock) for name in ("g1", "g2")]


def test_exchange_adopts_the_ejection_of_another_gateway_for_its_time(gateways, clock):
    """The reason names the gateway that decided it."""
    one, two = gateways
    one.fail("a")
    two.ejections.exchange()
    assert two.ejected == {"a"}
    assert two.board.outliers["a"].why == "gateway 'g1' has ejected it"
    clock.now_s += 4.9
    two.ejections.exchange()
    assert two.ejected == {"a"}
    clock.now_s += 0.2
    two.ejections.exchange()
    assert two.ejected == set()


def test_exchange_ejects_no_more_replicas_than_the_cap(gateways):
    """One of three, here, whichever gateway decided it."""
    one, two = gateways
    two.fail("b")
    one.fail("a")
    for each in gateways:
        each.ejections.exchange()
    assert (one.ejected, two.ejected) == ({"a"}, {"b"})


def test_exchange_lifts_an_ejection_that_was_withdrawn(gateways):
    """Before its time."""
    one, two = gateways
    one.fail("a")
    two.ejections.exchange()
    one.balancer.ejections.release("m/1/0")
    two.ejections.exchange()
    assert two.ejected == set()


def test_exchange_declines_an_ejection_that_this_gateway_has_released(gateways, clock):
    """A later ejection of the same replica is adopted again."""
    one, two = gateways
    one.fail("a")
    two.ejections.exchange()
    two.balancer.ejections.release("m/1/0")
    two.ejections.exchange()
    assert (one.ejected, two.ejected) == ({"a"}, set())
    clock.now_s += 6
    one.fail("a")
    two.ejections.exchange()
    assert two.ejected == {"a"}


def test_exchange_does_not_publish_adopted_ejections(gateways):
    """Otherwise two gateways would keep an ejection alive between them."""
    one, two = gateways
    one.fail("a")
    two.ejections.exchange()
    assert not two.live.own.entries(Topic.EJECTION)


def test_exchange_ignores_an_ejection_of_an_unknown_stage_or_worker(gateways):
    """The route table of another gateway may be another one."""
    one, _ = gateways
    one.live.mesh[1].publish(Topic.EJECTION, "a>n/1/0", {"left_s": 5.0}, 5.0)
    one.live.mesh[1].publish(Topic.EJECTION, "z>m/1/0", {"left_s": 5.0}, 5.0)
    one.ejections.exchange()
    assert one.ejected == set()

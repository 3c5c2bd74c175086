"""Links that workers have measured, shared among gateways: without a Redis."""

from __future__ import annotations

import pytest

from onnxmesh.live.base import Topic
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load
from services.gateway.sharing.link_sharing import LINK_FRESH_S, LINK_TTL_S
from tests.fakes.clock import Clock
from tests.unit.gateway.sharing.sharing_gateways import SharingGateway


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def gateways(clock):
    mesh = []
    return [SharingGateway(name, mesh, clock) for name in ("g1", "g2")]


def reported(target, round_trip_us, bytes_per_s=0):
    return Load(links=[LinkMeasurement(node=target, round_trip_us=round_trip_us, bytes_per_s=bytes_per_s)])


def test_reported_links_reach_the_balancer_and_other_gateways(gateways):
    """At first hand here, relayed there; a worker's own report takes precedence."""
    one, two = gateways
    one.links.observe_load("a", reported("b", 300, 10**9))
    assert one.balancer.network.links("a") == {"b": MeasuredLink(0.0003, 1e9)}
    one.links.exchange()
    two.links.exchange()
    assert two.balancer.network.links("a") == {"b": MeasuredLink(0.0003, 1e9, is_relayed=True)}
    two.links.observe_load("a", reported("b", 900))
    two.links.exchange()
    assert two.balancer.network.links("a") == {"b": MeasuredLink(0.0009)}


def test_link_sharing_publishes_the_link_of_one_gateway_to_all(gateways, clock):
    """Until it has not been published for a while, or has changed."""
    one, two = gateways
    for each in gateways:
        each.links.observe_load("a", reported("b", 300))
        each.links.exchange()
    assert [len(each.live.own.entries(Topic.ROUND_TRIP)) for each in gateways] == [1, 0]
    clock.now_s += LINK_FRESH_S
    two.links.observe_load("a", reported("b", 301))
    two.links.exchange()
    assert [len(each.live.own.entries(Topic.ROUND_TRIP)) for each in gateways] == [1, 1]
    one.links.observe_load("a", reported("b", 3000))
    one.links.exchange()
    (entry,) = one.live.own.entries(Topic.ROUND_TRIP)["a>b"]
    assert entry.values["round_trip_s"] == 0.003
    clock.now_s += LINK_TTL_S
    assert not one.live.entries(Topic.ROUND_TRIP)


def test_links_of_other_generations_are_ignored(gateways):
    """Of another generation than that in the table, or of a worker that is not in it."""
    one, two = gateways
    one.links.observe_load("a", reported("b", 300))
    one.links.observe_load("a", reported("stranger", 300))
    one.links.exchange()
    two.generations["b"] = 2
    two.links.exchange()
    assert not two.balancer.network.links("a")
    assert one.live.entries(Topic.ROUND_TRIP).keys() == {"a>b"}

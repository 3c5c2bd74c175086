"""Loads that gateways share, and the exchange as a whole: without a Redis."""

from __future__ import annotations

from random import Random

from onnxmesh.live.base import Topic
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load
from services.gateway.routes.router import Router
from services.gateway.sharing.sharing import Sharing
from tests.fakes.clock import Clock
from tests.fakes.fake_worker_links import FakeWorkerLinks
from tests.unit.gateway.sharing.sharing_gateways import MeshLiveState


class RecordingRouter(Router):
    """Keeps the loads and links that it is given."""

    def __init__(self, gateway):
        super().__init__(gateway, FakeWorkerLinks(), rng=Random(1))
        self.loads, self.links = [], []

    def generation(self, worker):
        return 1

    def observe_load(self, worker, load):
        self.loads.append((worker, load))

    def observe_link(self, origin, worker, link):
        self.links.append((origin, worker, link.round_trip_s))


def gateways():
    mesh, clock = [], Clock(100.0)
    routers = [RecordingRouter(name) for name in ("g1", "g2")]
    lives = [MeshLiveState(name, mesh, clock) for name in ("g1", "g2")]
    return clock, routers, [Sharing(*each) for each in zip(("g1", "g2"), lives, routers, strict=True)]


def test_exchange_loads_applies_the_load_that_another_gateway_observed():
    """Not this gateway's own, which its router has already."""
    _, routers, (one, two) = gateways()
    load = Load(queued=3, running=1, in_flight_bytes=2**40, completed=7)
    one.observe_load("w", load)
    for each in (one, two):
        each.exchange_loads()
    assert [router.loads for router in routers] == [[], [("w", load)]]


def test_exchange_loads_ignores_a_load_that_is_older_than_this_gateways_own():
    """A newer one of the other gateway is applied."""
    clock, routers, (one, two) = gateways()
    one.observe_load("w", Load(queued=1))
    clock.now_s += 1.0
    two.observe_load("w", Load(queued=2))
    two.exchange_loads()
    assert routers[1].loads == []
    one.exchange_loads()
    assert routers[0].loads == [("w", Load(queued=2))]


def test_observe_load_records_the_links_of_a_report():
    """They are measured by the worker that reports."""
    _, routers, (one, _) = gateways()
    one.observe_load("w", Load(links=[LinkMeasurement(node="v", round_trip_us=300)]))
    assert routers[0].links == [("w", "v", 0.0003)]


async def test_run_returns_where_nothing_is_shared():
    """A gateway without a Redis exchanges nothing."""
    router = RecordingRouter("g1")
    live = EmbeddedLiveState("g1")
    await Sharing("g1", live, router).run()
    assert not live.entries(Topic.LOAD)

"""What gateways tell each other of ways and ejections: without a Redis."""

from __future__ import annotations

from random import Random

import pytest

from onnxmesh.live.base import Figure, Topic
from onnxmesh.live.ejection_figures import EjectionFigure
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.live.link_figures import LinkFigure
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.network import MeasuredLink
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load
from services.gateway.sharing.shared_ejections import SharedEjections
from services.gateway.sharing.shared_link_estimates import SAID_AGAIN_S, TTL_S, SharedLinkEstimates
from tests.fakes.clock import Clock

STAGE = "m/1/0"


class Shared:
    """Live state of one gateway, which hears at once what the others of a mesh say."""

    def __init__(self, name, mesh, clock):
        self.own = OwnLiveState(name, clock=clock)
        self.mesh = mesh
        mesh.append(self.own)
        self.publish, self.withdraw = self.own.publish, self.own.withdraw

    def figures(self, topic):
        found = {}
        for each in self.mesh:
            for key, figures in each.figures(topic).items():
                found.setdefault(key, []).extend(figures)
        return {key: tuple(sorted(figures, key=lambda each: each.age_s)) for key, figures in found.items()}


class Gateway:
    """The parts of a gateway that choose and share, over one stage of these workers."""

    def __init__(self, name, mesh, clock, workers="abc"):
        self.clock = clock
        self.generations = dict.fromkeys(workers, 1)
        self.balancer = Balancer(Origin(name), Random(1))
        self.stage = RoutedStage(STAGE, tuple(Replica(each, f"{each}:1", 1) for each in workers))
        self.board = self.balancer.board(self.stage, clock())
        self.live = Shared(name, mesh, clock)
        self.ejections = SharedEjections(name, self.live, self.balancer.ejections, clock)
        self.links = SharedLinkEstimates(name, self.live, self.balancer.network.observe, self.generations.get)

    def fail(self, worker):
        for _ in range(5):
            self.balancer.observe_failure(worker, [STAGE], self.clock())

    @property
    def ejected(self):
        return {
            each.worker
            for each, until_s in zip(self.board.replicas, self.board.ejected_until_s, strict=True)
            if until_s > self.clock()
        }


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def gateways(clock):
    mesh = []
    return [Gateway(name, mesh, clock) for name in ("g1", "g2")]


def test_what_one_gateway_ejects_the_others_leave_alone(gateways, clock):
    """For as long, and with a reason that names who decided it."""
    one, two = gateways
    one.fail("a")
    two.ejections.listen()
    assert two.ejected == {"a"}
    assert two.board.outliers["a"].why == "gateway 'g1' has ejected it"
    clock.now_s += 4.9
    two.ejections.listen()
    assert two.ejected == {"a"}
    clock.now_s += 0.2
    two.ejections.listen()
    assert two.ejected == set()


def test_no_more_than_the_cap_are_left_alone_whoever_decided_it(gateways):
    """One of three, here."""
    one, two = gateways
    two.fail("b")
    one.fail("a")
    for each in gateways:
        each.ejections.listen()
    assert (one.ejected, two.ejected) == ({"a"}, {"b"})


def test_an_ejection_that_is_taken_back_ends_for_all(gateways):
    """Also before its time."""
    one, two = gateways
    one.fail("a")
    two.ejections.listen()
    one.balancer.ejections.release(STAGE)
    two.ejections.listen()
    assert two.ejected == set()


def test_a_gateway_with_nobody_else_left_goes_its_own_way(gateways, clock):
    """What it releases it does not take up again; another ejection of the same replica it does."""
    one, two = gateways
    one.fail("a")
    two.ejections.listen()
    two.balancer.ejections.release(STAGE)
    two.ejections.listen()
    assert (one.ejected, two.ejected) == ({"a"}, set())
    clock.now_s += 6
    one.fail("a")
    two.ejections.listen()
    assert two.ejected == {"a"}


def test_what_was_taken_up_is_not_passed_on(gateways):
    """Else two gateways would keep an ejection alive between them."""
    one, two = gateways
    one.fail("a")
    two.ejections.listen()
    assert not two.live.own.figures(Topic.EJECTION)


def test_an_ejection_of_a_stage_that_is_not_here_is_passed_over(gateways):
    """The table of another gateway may be another one."""
    one, _ = gateways
    one.live.mesh[1].publish(Topic.EJECTION, "a>n/1/0", {"left_s": 5.0}, 5.0)
    one.live.mesh[1].publish(Topic.EJECTION, "z>m/1/0", {"left_s": 5.0}, 5.0)
    one.ejections.listen()
    assert one.ejected == set()


def told(target, round_trip_us, bytes_per_s=0):
    return Load(links=[LinkMeasurement(node=target, round_trip_us=round_trip_us, bytes_per_s=bytes_per_s)])


def test_ways_that_workers_tell_reach_the_policy_and_the_others(gateways):
    """At first hand here, by hearsay there."""
    one, two = gateways
    one.links.said("a", told("b", 300, 10**9))
    assert one.balancer.network.links("a") == {"b": MeasuredLink(0.0003, 1e9)}
    one.links.listen()
    two.links.listen()
    assert two.balancer.network.links("a") == {"b": MeasuredLink(0.0003, 1e9, is_relayed=True)}
    two.links.said("a", told("b", 900))
    two.links.listen()
    assert two.balancer.network.links("a") == {"b": MeasuredLink(0.0009)}


def test_one_gateway_says_a_way_for_all(gateways, clock):
    """Until it has not said it for a while, or the way has changed."""
    one, two = gateways
    for each in gateways:
        each.links.said("a", told("b", 300))
        each.links.listen()
    assert [len(each.live.own.figures(Topic.ROUND_TRIP)) for each in gateways] == [1, 0]
    clock.now_s += SAID_AGAIN_S
    two.links.said("a", told("b", 301))
    two.links.listen()
    assert [len(each.live.own.figures(Topic.ROUND_TRIP)) for each in gateways] == [1, 1]
    one.links.said("a", told("b", 3000))
    one.links.listen()
    (said,) = one.live.own.figures(Topic.ROUND_TRIP)["a>b"]
    assert said.values["round_trip_s"] == 0.003
    clock.now_s += TTL_S
    assert not one.live.figures(Topic.ROUND_TRIP)


def test_ways_of_processes_that_are_gone_are_no_news(gateways):
    """Of another generation than that in the table, or not in it at all."""
    one, two = gateways
    one.links.said("a", told("b", 300))
    one.links.said("a", told("stranger", 300))
    one.links.listen()
    two.generations["b"] = 2
    two.links.listen()
    assert not two.balancer.network.links("a")
    assert one.live.figures(Topic.ROUND_TRIP).keys() == {"a>b"}


@pytest.mark.parametrize(
    "figure",
    [
        Figure("g", "a>b", 0.0, {}),
        Figure("g", "ab", 0.0, {"round_trip_s": 1.0, "origin_generation": 1, "target_generation": 1}),
        Figure(
            "g", "a>b", 0.0, {"round_trip_s": float("nan"), "origin_generation": 1, "target_generation": 1}
        ),
        Figure("g", "a>b", 0.0, {"round_trip_s": -1.0, "origin_generation": 1, "target_generation": 1}),
    ],
    ids=["nothing", "no way", "no number", "less than nothing"],
)
def test_what_is_no_way_is_read_as_none(figure):
    """Of another release, or damaged."""
    assert LinkFigure.read(figure) is None


def test_figures_say_what_they_were_made_of():
    """With a generation to the last digit; an ejection with what is left of it."""
    way = LinkFigure("a", "b", 1_790_000_000_123_456_789, 2, 0.5, 1e9)
    assert LinkFigure.read(Figure("g", way.key, 1.0, way.values)) == way
    ejection = EjectionFigure("a", "m/1/0", 5.0)
    assert EjectionFigure.read(Figure("g", ejection.key, 2.0, ejection.values)).left_s == 3.0
    assert EjectionFigure.read(Figure("g", ejection.key, 5.0, ejection.values)) is None
    assert EjectionFigure.read(Figure("g", "a>m/1/0", 0.0, {})) is None

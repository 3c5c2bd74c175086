"""Measured links replace guesses."""

from __future__ import annotations

from onnxmesh.routing.network import GUESSES, MeasuredLink, Network
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.table.locality import Nearness
from tests.unit.routing.policy_bench import HOME, Bench, in_zone


def test_view_prefers_measured_links_to_guesses():
    """The farther of two in one zone is not taken; what has no measured width counts with the guessed one."""
    bench = Bench(in_zone("a", "b"))
    network = bench.balancer.network
    network.observe("g", "a", MeasuredLink(0.01))
    assert bench.picks(50) == {"b": 50}
    view = bench.board.view(HOME, network)
    assert view.half_trip_s.tolist() == [0.005, GUESSES[Nearness.ZONE].round_trip_s / 2]
    assert view.s_per_byte.tolist() == [1 / GUESSES[Nearness.ZONE].bytes_per_s] * 2
    assert view.measured.tolist() == [True, False]
    network.remove("a")
    assert not bench.board.view(HOME, network).measured.any()


def test_network_ignores_similar_measurements():
    """Every worker reports its links each second: views are rebuilt only where a link changed by more than a tenth."""
    bench = Bench(in_zone("a", "b"))
    network = bench.balancer.network
    assert network.observe("g", "a", MeasuredLink(0.01, 1e9))
    before = bench.board.view(HOME, network)
    assert not network.observe("g", "a", MeasuredLink(0.0109, 0.91e9))
    assert network.observe("w", "b", MeasuredLink(0.5))
    assert bench.board.view(HOME, network) is before
    assert network.observe("g", "a", MeasuredLink(0.0112, 1e9))
    assert bench.board.view(HOME, network) is not before


def test_network_prefers_direct_measurements_to_relayed_ones():
    """A relayed one never replaces a direct one."""
    network = Network()
    assert network.observe("v", "w", MeasuredLink(0.3, is_relayed=True))
    assert network.observe("v", "w", MeasuredLink(0.2))
    assert not network.observe("v", "w", MeasuredLink(0.3, is_relayed=True))
    assert network.links("v") == {"w": MeasuredLink(0.2)}


def test_policy_sends_large_inputs_over_fast_links():
    """Bandwidth counts once there is something to send."""
    bench = Bench(in_zone("narrow", "wide"))
    bench.balancer.network.observe("g", "narrow", MeasuredLink(0.0001, 1e6))
    bench.balancer.network.observe("g", "wide", MeasuredLink(0.0004, 1e9))
    assert bench.picks(20).keys() <= {"narrow", "wide"}
    assert bench.picks(20, RouteQuery(num_bytes=1e6)) == {"wide": 20}


def test_remove_ignores_origins_without_a_link_to_the_node():
    """Their links, and with them the views that were computed from them, stay as they are."""
    network = Network()
    network.observe("v", "w", MeasuredLink(0.2))
    network.observe("u", "v", MeasuredLink(0.3))
    before = network.revision("v")
    network.remove("u")
    assert network.links("u") == {}
    assert network.links("v") == {"w": MeasuredLink(0.2)}
    assert network.revision("v") == before

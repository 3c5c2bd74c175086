"""Zones and ways: who is near, and what the policy makes of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.network import GUESSES, MeasuredLink, Network
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.spillover import spillover_shares
from onnxmesh.routing.table.locality import Nearness
from tests.unit.routing.policy_bench import HOME, Bench, in_zone


def test_a_near_zone_takes_all_while_it_has_room():
    """Zones by name: nothing crosses while workers at home are idle."""
    bench = Bench({"a": "near", "b": "near", "c": "far"})
    assert bench.picks(200).keys() == {"a", "b"}


def test_a_zone_that_fills_up_spills_in_proportion():
    """From 90 % of its capacity in use on it gives up ever more; a full one gives up everything."""
    found = []
    for num_busy in (17, 19, 20):
        near = {f"n{i}": "near" for i in range(20)}
        bench = Bench(near | {f"f{i}": "far" for i in range(20)})
        bench.measure(dict.fromkeys(near, 0.01) | {f"f{i}": 0.01 for i in range(20)})
        bench.load({f"n{i}": 0.05 for i in range(num_busy)})
        bench.picks(300)
        picks = bench.picks(600)
        found.append(sum(count for worker, count in picks.items() if worker.startswith("f")) / 600)
    assert found[0] == 0.0
    assert 0.35 < found[1] < 0.65
    assert found[2] == 1.0


def test_a_zone_that_is_gone_fails_over_whole():
    """The next nearest takes everything, at once."""
    bench = Bench({"a": "near", "b": "far", "c": "far"})
    assert Counter(bench.pick(is_live=lambda worker: worker != "a") for _ in range(100)).keys() == {"b", "c"}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=4), st.floats(0.5, 0.99))
def test_shares_are_shares(tiers, spill_at):
    """None is negative, all together are 1 at the most, and a tier with room leaves nothing to farther ones."""
    found = spillover_shares([used for used, _ in tiers], [is_alive for _, is_alive in tiers], spill_at)
    assert all(share >= 0 for share in found)
    assert sum(found) <= 1 + 1e-9
    for index, (used, is_alive) in enumerate(tiers):
        if is_alive and used <= spill_at:
            assert sum(found[: index + 1]) == pytest.approx(1)
            assert not any(found[index + 1 :])


def test_measured_ways_outdo_guesses():
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


def test_reports_of_the_same_change_nothing():
    """Every worker tells its ways each second: only one that changed by more than a tenth makes its views anew."""
    bench = Bench(in_zone("a", "b"))
    network = bench.balancer.network
    assert network.observe("g", "a", MeasuredLink(0.01, 1e9))
    before = bench.board.view(HOME, network)
    assert not network.observe("g", "a", MeasuredLink(0.0109, 0.91e9))
    assert network.observe("w", "b", MeasuredLink(0.5))
    assert bench.board.view(HOME, network) is before
    assert network.observe("g", "a", MeasuredLink(0.0112, 1e9))
    assert bench.board.view(HOME, network) is not before


def test_hearsay_gives_way_to_what_was_told_first_hand():
    """And never takes its place."""
    network = Network()
    assert network.observe("v", "w", MeasuredLink(0.3, is_relayed=True))
    assert network.observe("v", "w", MeasuredLink(0.2))
    assert not network.observe("v", "w", MeasuredLink(0.3, is_relayed=True))
    assert network.links("v") == {"w": MeasuredLink(0.2)}


def test_large_inputs_go_where_the_way_is_wide():
    """Bandwidth counts once there is something to send."""
    bench = Bench(in_zone("narrow", "wide"))
    bench.balancer.network.observe("g", "narrow", MeasuredLink(0.0001, 1e6))
    bench.balancer.network.observe("g", "wide", MeasuredLink(0.0004, 1e9))
    assert bench.picks(20).keys() <= {"narrow", "wide"}
    assert bench.picks(20, RouteQuery(num_bytes=1e6)) == {"wide": 20}

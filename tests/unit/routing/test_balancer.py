"""Which replica serves each stage."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import StageKey
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.network import GUESSES, MeasuredLink
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.selectors.selector_text import parse_selector
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import Nearness
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from tests.unit.routing.policy_bench import KEY, NO_LUCK, Bench, in_zone

OTHER_KEY = StageKey("other/1/0")


def stage(*workers, index=0):
    return RoutedStage(
        StageKey(f"m/1/{index}"), tuple(Replica(worker, f"{worker}:1", 1) for worker in workers)
    )


def stages(*names):
    return [stage(*workers, index=index) for index, workers in enumerate(names)]


def route_of(stages, loads=None, dead=(), excluded=(), seed=0):
    """Returns the route over workers that report so many requests' worth of work each."""
    balancer = Balancer(Origin(), Random(seed))
    for each in stages:
        balancer.board(each, 0.0)
    for worker, load in (loads or {}).items():
        balancer.observe_report(worker, load * 0.001, {}, 0.0)
    query = RouteQuery(excluded=frozenset(excluded))
    return balancer.pick_route(stages, lambda worker: worker not in dead, 0.0, query)


def pick(*args, **kwargs):
    route = route_of(*args, **kwargs)
    return route.stage if isinstance(route, NoRoute) else "".join(replica.worker for replica in route)


def test_pick_route_takes_a_single_replica():
    """With nothing to choose, load does not matter."""
    assert pick(stages("a", "b"), {"a": 99}) == "ab"


def test_pick_route_takes_the_less_loaded_of_two():
    """Two replicas are always both drawn."""
    assert {pick(stages("ab"), {"a": 2, "b": 1}, seed=seed) for seed in range(50)} == {"b"}


def test_pick_route_never_takes_the_most_loaded_of_many():
    """Any other replica that is drawn with it has less load."""
    loads = {"a": 1, "b": 1, "c": 1, "d": 9}
    assert "d" not in {pick(stages("abcd"), loads, seed=seed) for seed in range(200)}


def test_pick_route_balances_equal_replicas():
    """No order in the table favours one of them."""
    counts = Counter(pick(stages("abcd"), seed=seed) for seed in range(4000))
    assert all(850 < counts[worker] < 1150 for worker in "abcd"), counts


def test_pick_route_prefers_the_worker_of_the_hop_before_in_a_tie():
    """The activation then crosses no wire."""
    assert {pick(stages("c", "abcd"), seed=seed) for seed in range(50)} == {"cc"}


def test_pick_route_leaves_a_busier_worker_of_the_hop_before():
    """Staying saves the transfer, and is preferred only by that much."""
    assert {pick(stages("a", "ab"), {"a": 2, "b": 1}, seed=seed) for seed in range(50)} == {"ab"}


def test_pick_route_never_takes_dead_and_excluded_workers():
    """Filters come before scores."""
    loads = {"c": 99}
    assert {pick(stages("abc"), loads, dead="a", excluded="b", seed=seed) for seed in range(50)} == {"c"}


def test_pick_route_names_a_stage_without_candidates():
    """It is the first such stage."""
    assert pick(stages("a", "b", "b"), dead="b") == 1
    assert pick(stages("")) == 0


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), min_size=1, max_size=5),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5)),
    st.sets(st.sampled_from("abcdef")),
    st.sets(st.sampled_from("abcdef")),
    st.integers(0, 99),
)
def test_pick_route_has_one_usable_replica_of_each_stage(names, loads, dead, excluded, seed):
    """Whatever the figures, a route is complete and usable, or there is none."""
    route = route_of(stages(*names), loads, dead, excluded, seed)
    usable = [set(workers) - dead - excluded for workers in names]
    if isinstance(route, NoRoute):
        assert next(index for index, workers in enumerate(usable) if not workers) == route.stage
    else:
        assert all(replica.worker in workers for replica, workers in zip(route, usable, strict=True))


def test_remove_keeps_tickets_of_requests_in_flight_valid():
    """A stage, or a worker, that was never seen is removed as well; of a worker that left, the links are gone too."""
    bench = Bench(in_zone("a", "b"))
    balancer = bench.balancer
    balancer.network.observe("g", "a", MeasuredLink(0.01))
    ticket = balancer.begin([bench.stage], bench.route(), 0.0)
    bench.balancer.ejections.eject(KEY, "a", 5.0)
    balancer.remove([KEY, OTHER_KEY], ["a", "b", "unknown"])
    assert balancer.num_ejected(0.0) == 0
    assert balancer.network.links("g") == {}
    assert balancer.board(bench.stage, 0.0) is not bench.board
    balancer.end(ticket)
    assert not balancer.workers.own_s.any()


def test_observe_answer_ejects_a_replica_far_slower_than_its_peers():
    """Requests avoid it until the time that is returned."""
    bench = Bench(in_zone(*"abcd"))
    ends = set()
    for _ in range(NO_LUCK.min_samples):
        bench.measure(dict.fromkeys("bcd", 0.01))
        ends.add(bench.balancer.observe_answer(KEY, "a", 0.9, 1.0))
    until_s = 1.0 + NO_LUCK.ejection_s
    assert ends == {None, until_s}
    assert bench.board.ejected_until_s.tolist() == [until_s, 0.0, 0.0, 0.0]
    assert bench.balancer.observe_answer(KEY, "unknown", 0.9, 1.0) is None
    assert bench.balancer.observe_answer(OTHER_KEY, "a", 0.9, 1.0) is None


def test_observe_report_records_the_compute_times_of_known_replicas():
    """The report may be ahead of the route table; a stage that has computed nothing has no time."""
    bench = Bench(in_zone("a", "b"))
    bench.balancer.observe_report("a", 0.0, {KEY: 0.05, OTHER_KEY: 0.5}, 0.0)
    assert bench.board.compute_s.tolist() == pytest.approx([0.05, 0.05])
    bench.balancer.observe_report("b", 0.0, {KEY: 0.0}, 0.0)
    bench.balancer.observe_report("unknown", 0.0, {KEY: 9.0}, 0.0)
    assert bench.board.compute_s.tolist() == pytest.approx([0.05, 0.05])


def test_release_ejections_helps_only_where_an_ejected_replica_may_run_the_request():
    """It must be live, meet the selector, and not have failed this request; else all ejections stay."""
    bench = Bench(in_zone("a", "b"), attributes={"b": {"gpu": "h100"}})
    bench.balancer.ejections.eject(KEY, "a", 5.0)
    useless = [
        bench.route(RouteQuery(excluded={"a", "b"})),
        bench.route(RouteQuery(excluded={"b"}, require=parse_selector("gpu"))),
        bench.route(is_live=lambda _: False),
    ]
    for found in useless:
        assert not bench.balancer.release_ejections(found, 1.0)
    assert bench.balancer.num_ejected(1.0) == 1
    query = RouteQuery(excluded={"b"})
    assert bench.balancer.release_ejections(bench.route(query), 1.0)
    assert bench.pick(query) == "a"


def test_release_ejections_counts_no_ejection_that_has_just_ended():
    """Its replica was a candidate already, so that the request fails for another reason: here its deadline."""
    bench = Bench(in_zone("a", "b"))
    bench.balancer.ejections.eject(KEY, "a", 5.0)
    bench.now_s = 5.0
    query = RouteQuery(remaining_s=1e-6)
    bench.pick(query)  # one request per probe period is sent all the same
    found = bench.route(query)
    assert found.is_late
    assert not bench.balancer.release_ejections(found, 5.0)
    assert bench.balancer.release_ejections(found, 4.9)


def test_explain_counts_the_bytes_of_a_request_for_the_first_stage_only():
    """How large activations are is not known, so that the links to later stages count by their delay alone."""
    balancer = Balancer(Origin("g"), Random(0), NO_LUCK)
    balancer.network.observe("g", "a", MeasuredLink(0.01, 10.0))
    balancer.network.observe("a", "b", MeasuredLink(0.01, 10.0))
    found = balancer.explain(stages("a", "bc"), lambda _: True, 0.0, RouteQuery(num_bytes=5.0))
    (first,), (measured, guessed) = (each.verdicts for each in found)
    assert first.transfer_s == pytest.approx(0.005 + 0.5)
    assert measured.transfer_s == pytest.approx(0.005)
    assert guessed.transfer_s == pytest.approx(GUESSES[Nearness.ZONE].round_trip_s / 2)

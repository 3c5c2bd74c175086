"""Which replica serves each stage."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import StageKey
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.routed_model import Replica, RoutedStage


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

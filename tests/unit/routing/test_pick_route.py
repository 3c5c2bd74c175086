"""Which replica serves each stage."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import StageKey
from onnxmesh.routing.pick import NoCandidate, pick_route
from onnxmesh.routing.table import Replica, RoutedStage


class Workers:
    """Liveness and load as a test wants them."""

    def __init__(self, loads, dead=()):
        self._loads, self._dead = loads, dead

    def is_live(self, worker):
        return worker not in self._dead

    def load(self, worker):
        return self._loads.get(worker, 0)


def stage(*workers):
    return RoutedStage(StageKey("m/1/0"), tuple(Replica(worker, f"{worker}:1", 1) for worker in workers))


def pick(stages, loads=None, dead=(), excluded=(), seed=0):
    route = pick_route(stages, Workers(loads or {}, dead), set(excluded), Random(seed))
    return route if isinstance(route, NoCandidate) else "".join(replica.worker for replica in route)


def test_a_single_replica_is_taken():
    """With nothing to choose, load does not matter."""
    assert pick([stage("a"), stage("b")], {"a": 99}) == "ab"


def test_of_two_the_less_loaded_is_taken():
    """Two replicas are always both drawn."""
    assert {pick([stage("a", "b")], {"a": 2, "b": 1}, seed=seed) for seed in range(50)} == {"b"}


def test_the_most_loaded_of_many_is_never_taken():
    """Whoever is drawn beside it is better."""
    loads = {"a": 1, "b": 1, "c": 1, "d": 9}
    assert "d" not in {pick([stage(*"abcd")], loads, seed=seed) for seed in range(200)}


def test_equal_replicas_share_the_requests():
    """No order in the table favours one of them."""
    counts = Counter(pick([stage(*"abcd")], seed=seed) for seed in range(4000))
    assert all(850 < counts[worker] < 1150 for worker in "abcd"), counts


def test_a_tie_stays_on_the_worker_of_the_hop_before():
    """The activation then crosses no wire."""
    stages = [stage("c"), stage(*"abcd")]
    assert {pick(stages, seed=seed) for seed in range(50)} == {"cc"}


def test_a_busier_worker_of_the_hop_before_is_left():
    """Staying is worth a tie, no more."""
    stages = [stage("a"), stage("a", "b")]
    assert {pick(stages, {"a": 2, "b": 1}, seed=seed) for seed in range(50)} == {"ab"}


def test_dead_and_excluded_workers_are_never_taken():
    """Filters come before scores."""
    stages = [stage(*"abc")]
    assert {pick(stages, {"c": 99}, dead="a", excluded="b", seed=seed) for seed in range(50)} == {"c"}


def test_a_stage_without_candidates_is_named():
    """The first such stage is what stands in the way."""
    assert pick([stage("a"), stage("b"), stage("b")], dead="b") == NoCandidate(1)
    assert pick([stage()]) == NoCandidate(0)


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6), min_size=1, max_size=5),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 5)),
    st.sets(st.sampled_from("abcdef")),
    st.sets(st.sampled_from("abcdef")),
    st.integers(0, 99),
)
def test_a_route_has_one_usable_replica_of_each_stage(stages, loads, dead, excluded, seed):
    """Whatever the figures, a route is complete and usable, or there is none."""
    route = pick_route([stage(*workers) for workers in stages], Workers(loads, dead), excluded, Random(seed))
    usable = [set(workers) - dead - excluded for workers in stages]
    if isinstance(route, NoCandidate):
        assert next(index for index, workers in enumerate(usable) if not workers) == route.stage
    else:
        assert all(replica.worker in workers for replica, workers in zip(route, usable, strict=True))

"""A decision summarises its pick and its scores."""

from __future__ import annotations

import numpy as np

from onnxmesh.routing.policy import choose_replica
from onnxmesh.routing.route_query import CandidateFilter, RouteQuery
from tests.unit.routing.policy_bench import HOME, Bench, in_zone


def decision_of(bench, query):
    balancer = bench.balancer
    return choose_replica(
        bench.board,
        balancer.workers,
        balancer.network,
        origin=HOME,
        query=query,
        settings=balancer.settings,
        rng=balancer._rng,
        now_s=0.0,
    )


def test_soonest_s_ignores_filtered_replicas_and_transfer():
    bench = Bench(in_zone("a", "b"))
    bench.measure({"a": 0.01, "b": 0.5})
    keep_out_a = CandidateFilter("test", "", np.array([True, False]))
    decision = decision_of(bench, RouteQuery(filters=(keep_out_a,), num_bytes=1e9))
    assert decision.index == decision.pick.index == 1
    assert decision.soonest_s == decision.scores.ready_s[1]
    assert decision.soonest_s > decision.scores.ready_s[0]
    assert decision.scores.completion_s[1] > decision.soonest_s

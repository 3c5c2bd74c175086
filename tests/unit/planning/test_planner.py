"""Plans that can be computed by hand, and truths that hold of any."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.plan.planner_speed import mixed_cluster, random_costs
from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.model.signature import Signature
from onnxmesh.planning.planner import make_plan, uniform_plan
from tests.fakes.planned_graphs import cluster, graph, kind
from tests.unit.planning.every_assignment import clusters, graphs


def cuts(costs, num_stages, devices=None):
    return make_plan(costs, devices or cluster(kind(count=num_stages)), Demand(num_stages=num_stages)).cuts


def devices_of(plan):
    return [dict(stage.devices) for stage in plan.stages]


def test_plan_divides_equal_nodes_equally():
    """Nine equal nodes in three stages: three each."""
    assert cuts(graph([10] * 9), 3) == (3, 6)


def test_plan_isolates_an_expensive_node():
    """The slowest stage decides, not the number of nodes."""
    assert cuts(graph([1, 1, 100, 1, 1]), 3) == (2, 3)


def test_plan_saves_bytes_within_two_percent_of_the_period():
    """Within 2 % of the best time, the cut with the fewest bytes is taken; beyond, the time counts."""
    assert cuts(graph([100, 2, 100], [1000, 10]), 2) == (2,)
    assert cuts(graph([100, 2, 100], [10, 1000]), 2) == (1,)
    assert cuts(graph([101, 2, 99], [10, 1000]), 2) == (1,)
    assert cuts(graph([102, 4, 99], [1000, 10]), 2) == (1,)
    assert cuts(graph([70, 40, 50], [1000, 10]), 2) == (1,)


def test_plan_of_equal_boundaries_has_the_shortest_period():
    """The slack is not used up where it saves nothing."""
    assert cuts(graph([100] * 400), 2) == (200,)
    assert cuts(graph([100] * 400), 4) == (100, 200, 300)


def test_plan_counts_transfers():
    """Sending is part of a stage's cost."""
    slow = cluster(kind(count=2), bytes_per_s=1.0)
    assert cuts(graph([10, 10, 10, 10], [1, 90, 1]), 2, slow) != (2,)
    assert cuts(graph([10, 10, 10, 10], [1, 90, 1]), 2) == (2,)


def test_plan_cuts_at_legal_positions_only():
    """The best position is not taken if something crosses it that cannot be sent."""
    assert cuts(graph([10] * 4, illegal={2}), 2) != (2,)


def test_plan_assigns_more_nodes_to_a_faster_device():
    """Three times as fast: three quarters of the work."""
    plan = make_plan(graph([10] * 8), cluster(kind("slow"), kind("fast", speed=3.0)), Demand(num_stages=2))
    assert sorted((stage.end - stage.start, stage.devices[0][0]) for stage in plan.stages) == [
        (2, "slow"),
        (6, "fast"),
    ]
    assert plan.period_s == pytest.approx(20.0)


def test_plan_avoids_a_slow_link_between_kinds():
    """Two of each kind, thin links between kinds: the plan crosses between them once, not three times."""
    kinds = (kind("a", 2), kind("b", 2))
    devices = Cluster(kinds, {("a", "b"): LinkSpec(0.1, 0.0)}, LinkSpec(1e6, 0.0))
    plan = make_plan(graph([100] * 8, [1] * 7), devices, Demand(num_stages=4))
    names = [name for stage in plan.stages for name in dict(stage.devices)]
    assert sum(a != b for a, b in pairwise(names)) == 1


def test_plan_respects_memory_limits():
    """(500, 500, 1000) of memory and 12 equal layers: 3, 3, 6."""
    layers = graph([1] * 12, weights=[(i,) for i in range(12)], weight_bytes=(150,) * 12)
    devices = cluster(kind("small", 2, memory=500), kind("large", memory=1000))
    plan = make_plan(layers, devices, Demand(num_stages=3))
    assert sorted((stage.end - stage.start, stage.devices[0][0]) for stage in plan.stages) == [
        (3, "small"),
        (3, "small"),
        (6, "large"),
    ]
    assert all(stage.peak_bytes == stage.weight_bytes for stage in plan.stages)


def test_plan_of_a_graph_without_nodes_has_one_stage():
    """A model whose outputs are its inputs is served too."""
    empty = GraphCosts((), (), (), (), Signature((), ()))
    for demand in (Demand(), Demand(num_stages=1), Demand(replicas=None), Demand(Objective.LATENCY)):
        plan = make_plan(empty, cluster(kind(count=2)), demand)
        assert [(stage.start, stage.end) for stage in plan.stages] == [(0, 0)]
    with pytest.raises(InvalidPlan, match="at most 1 stage"):
        make_plan(empty, cluster(kind(count=2)), Demand(num_stages=2))


def test_plan_counts_shared_weights_once_in_each_stage():
    """Tied weights are held by each stage that reads them."""
    tied = graph([10, 10, 10], weights=[(0,), (1,), (0,)], weight_bytes=(100, 10))
    devices = cluster(kind(count=3))
    assert make_plan(tied, devices, Demand(num_stages=1)).stages[0].weight_bytes == 110
    plan = make_plan(tied, devices, Demand(num_stages=3))
    assert [stage.weight_bytes for stage in plan.stages] == [100, 10, 100]


def test_plan_keeps_tied_weights_in_one_stage_where_that_costs_little():
    """Of two cuts that are as fast and send as much, the one that copies nothing; a thin boundary is worth a copy."""
    weights, sizes = [(), (0,), (0,), ()], (10**6,)
    assert cuts(graph([100, 1, 1, 100], [5, 5, 5], weights=weights, weight_bytes=sizes), 2) in {(1,), (3,)}
    assert cuts(graph([100, 1, 1, 100], [9000, 5, 9000], weights=weights, weight_bytes=sizes), 2) == (2,)
    assert cuts(graph([100, 1, 1, 100], [900, 5, 900], weights=weights, weight_bytes=sizes), 2) != (2,)


def test_plan_chooses_as_many_stages_as_memory_needs():
    """Four weights of 10 on devices of 20 are two stages, though speed does not need them."""
    heavy = graph([1, 0, 0, 0], weights=[(0,), (1,), (2,), (3,)], weight_bytes=(10, 10, 10, 10))
    plan = make_plan(heavy, cluster(kind(count=8, memory=20)), Demand())
    assert [stage.weight_bytes for stage in plan.stages] == [20, 20]
    assert "to fit in memory" in plan.why


def test_plan_chooses_no_stage_with_little_gain():
    """One node that takes nearly all the time cannot be divided."""
    plan = make_plan(graph([1, 100, 1]), cluster(kind(count=8)), Demand())
    assert plan.cuts == ()
    assert len(make_plan(graph([10] * 16), cluster(kind(count=4)), Demand()).stages) == 4
    assert len(make_plan(graph([10] * 16), cluster(kind()), Demand()).stages) == 1


def test_plan_for_latency_has_one_stage_on_the_fastest_device():
    """Every cut adds a transfer; only memory forces one."""
    devices = cluster(kind("slow", 3), kind("fast", 1, speed=2.0), latency_s=1.0)
    plan = make_plan(graph([10] * 6), devices, Demand(Objective.LATENCY))
    assert devices_of(plan) == [{"fast": 1}]
    assert plan.latency_s == pytest.approx(30.0)
    tight = replace(devices, kinds=(kind("slow", 3, memory=30), kind("fast", 1, 2.0, memory=30)))
    heavy = graph([10] * 6, weights=[(i,) for i in range(6)], weight_bytes=(10,) * 6)
    assert devices_of(make_plan(heavy, tight, Demand(Objective.LATENCY))) in (
        [{"fast": 1}, {"slow": 1}],
        [{"slow": 1}, {"fast": 1}],
    )


def test_plan_with_free_replicas_uses_all_devices():
    """Replicas free: copies scale without sending anything; mixed devices add their rates."""
    devices = cluster(kind("slow", 2), kind("fast", 2, speed=2.0), latency_s=1.0)
    plan = make_plan(graph([10] * 6), devices, Demand(replicas=None))
    assert devices_of(plan) == [{"slow": 2, "fast": 2}]
    assert plan.period_s == pytest.approx(60 / 6)
    assert plan.stages[0].compute_s == pytest.approx(60.0)


def test_plan_replicates_the_slowest_stage():
    """A node of 30 that cannot be divided, between two of 10: three replicas make it one of the others."""
    heavy = graph([10, 30, 10], weights=[(0,), (1,), (2,)], weight_bytes=(10, 10, 10))
    plan = make_plan(heavy, cluster(kind(count=5, memory=10)), Demand(replicas=None))
    assert [stage.num_replicas for stage in plan.stages] == [1, 3, 1]
    assert plan.period_s == pytest.approx(10.0)


def test_plan_leaves_a_device_without_gain_unused():
    """A model that takes no time is not made faster by copies."""
    plan = make_plan(graph([0, 0]), cluster(kind(count=3)), Demand(replicas=None))
    assert devices_of(plan) == [{"box": 1}]


def test_plan_has_replicas_of_one_kind_where_possible():
    """Three of each: two stages in three replicas do not mix."""
    devices = cluster(kind("a", 3), kind("b", 3, speed=2.0))
    plan = make_plan(graph([10] * 6), devices, Demand(num_stages=2, replicas=3))
    assert sorted(stage.devices for stage in plan.stages) == [(("a", 3),), (("b", 3),)]


def test_plan_mixes_kinds_where_none_has_enough_devices():
    """Two and two devices, three replicas requested."""
    devices = cluster(kind("a", 2), kind("b", 2, speed=2.0))
    plan = make_plan(graph([10] * 6), devices, Demand(num_stages=1, replicas=3))
    assert devices_of(plan) == [{"a": 1, "b": 2}]
    plan = make_plan(graph([10] * 6), devices, Demand(num_stages=2, replicas=2, share=True))
    assert [stage.num_replicas for stage in plan.stages] == [2, 2]


def test_plan_with_shared_devices_divides_their_time():
    """Four stages on two devices: two each, at half speed, though one request alone is as fast."""
    plan = make_plan(graph([10] * 8), cluster(kind(count=2)), Demand(num_stages=4, share=True))
    assert plan.cuts == (2, 4, 6)
    assert plan.period_s == pytest.approx(40.0, rel=1e-4)
    assert plan.latency_s == pytest.approx(80.0, rel=1e-4)
    alone = make_plan(graph([10] * 8), cluster(kind(count=4)), Demand(num_stages=4, share=True))
    assert alone.period_s == pytest.approx(20.0, rel=1e-4)


def test_plan_compares_with_the_whole_model_on_the_fastest_device_that_fits():
    """The fastest that it fits; if it fits none, the fastest, and it says so."""
    costs = graph([10] * 4, weights=[(i,) for i in range(4)], weight_bytes=(10,) * 4)
    devices = cluster(kind("slow", memory=40), kind("fast", speed=2.0, memory=30))
    whole = make_plan(costs, devices, Demand(num_stages=2)).whole
    assert (whole.kind, whole.compute_s, whole.peak_bytes, whole.fits) == ("slow", 40.0, 40, True)
    small = cluster(kind("slow", memory=20), kind("fast", speed=2.0, memory=30))
    plan = make_plan(costs, small, Demand(num_stages=2))
    assert (plan.whole.kind, plan.whole.fits) == ("fast", False)
    assert "which it does not fit" in plan.why


def test_plan_scales_times_beyond_64_bits():
    """A trillion seconds a node are no other case."""
    plan = make_plan(graph([10**12] * 8), cluster(kind(count=2)), Demand(num_stages=2))
    assert plan.cuts == (4,)
    assert plan.period_s == pytest.approx(4e12)


def overheld(plan, devices, slots=1):
    """The kinds of which a plan uses more than there are."""
    used: dict[str, int] = {}
    for stage in plan.stages:
        for name, count in stage.devices:
            used[name] = used.get(name, 0) + count
    return [name for name, count in used.items() if count > devices.kind(name).count * slots]


@settings(max_examples=100)
@given(
    graphs(9),
    clusters(most_devices=6),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from(list(Objective)),
    st.booleans(),
    st.data(),
)
def test_plan_is_valid_or_refused(costs, devices, replicas, objective, share, data):
    """Stages tile the graph at legal cuts, are as many as requested, fit their devices, and use no more than there are."""
    num_stages = data.draw(st.one_of(st.none(), st.integers(1, costs.max_stages)))
    budget = data.draw(st.sampled_from([0, 1000, 10**8]))
    try:
        plan = make_plan(costs, devices, Demand(objective, num_stages, replicas, share), budget=budget)
    except InvalidPlan:
        return
    slots = -(-(num_stages or 1) * (replicas or 1) // devices.num_devices) if share else 1
    bounds = [0, *plan.cuts, len(costs.nodes)]
    assert [(stage.start, stage.end) for stage in plan.stages] == list(pairwise(bounds))
    assert all(start < end for start, end in pairwise(bounds))
    assert set(plan.cuts) <= set(costs.legal_cuts)
    assert num_stages in {None, len(plan.stages)}
    assert overheld(plan, devices, slots) == []
    for stage in plan.stages:
        assert replicas in {None, stage.num_replicas}
        assert stage.peak_bytes == costs.peak_bytes(stage.start, stage.end)
        for name, count in stage.devices:
            assert count <= devices.kind(name).count
            limit = devices.kind(name).memory_bytes
            assert limit is None or stage.peak_bytes <= limit // slots


@settings(max_examples=30)
@given(
    st.integers(0, 10**6),
    st.integers(20, 120),
    clusters(most_devices=8),
    st.sampled_from([0, 10**5, 10**9]),
    st.sampled_from(list(Objective)),
)
def test_plan_is_not_worse_than_a_uniform_cut(seed, num_nodes, devices, budget, objective):
    """By the heuristic, no uniform cut into any number of stages is faster; by the exact search, none is by more than
    the plan gives away on purpose, and only to send less or to have fewer stages.
    """
    costs = replace(random_costs(num_nodes, seed), inputs=())
    kinds = tuple(replace(kind, memory_bytes=None) for kind in devices.kinds)
    devices = replace(devices, kinds=kinds)
    plan = make_plan(costs, devices, Demand(objective), budget=budget)
    heuristic = "heuristic" in plan.why
    for num_stages in range(1, min(costs.max_stages, devices.num_devices) + 1):
        uniform = uniform_plan(costs, devices, num_stages)
        fixed = make_plan(costs, devices, Demand(objective, num_stages), budget=budget)
        if objective is Objective.LATENCY:
            assert max(plan.latency_s, fixed.latency_s) <= uniform.latency_s
            continue
        assert plan.period_s <= uniform.period_s * (1 if heuristic else 1.1 * 1.02)
        if fixed.period_s > uniform.period_s:
            assert "heuristic" not in fixed.why
            assert fixed.period_s <= uniform.period_s * 1.02
            assert sum(s.boundary_bytes for s in fixed.stages) < sum(s.boundary_bytes for s in uniform.stages)


def test_plan_of_5000_nodes_on_16_devices_uses_nearly_all_of_their_speed():
    """Large graphs are no other case; the same graph gives the same plan, near what the devices can do at all."""
    costs, devices = random_costs(5000, 1), mixed_cluster()
    plan = make_plan(costs, devices, Demand(replicas=None))
    assert plan == make_plan(GraphCosts.from_json(costs.to_json()), devices, Demand(replicas=None))
    rates = [
        kind.count / make_plan(costs, Cluster((kind,)), Demand()).whole.compute_s for kind in devices.kinds
    ]
    assert plan.period_s < 1.05 / sum(rates)


def test_plan_bundles_50000_devices():
    """Many like devices go in bundles."""
    rng = random.Random(1)
    costs = graph([rng.randrange(10**9) for _ in range(500)])
    devices = cluster(kind("a", 30_000), kind("b", 20_000, speed=3.0))
    plan = make_plan(costs, devices, Demand(replicas=None))
    assert plan.period_s == pytest.approx(sum(node.flops for node in costs.nodes) / 90_000, rel=0.02)


def test_plan_of_twelve_pooled_kinds_has_real_devices():
    """More kinds than a search distinguishes: each stage has real devices, and the plan is nearly optimal."""
    devices = cluster(*(kind(f"kind{i}", 1, 1.0 + i) for i in range(12)))
    plan = make_plan(graph([100] * 780), devices, Demand(num_stages=12))
    assert overheld(plan, devices) == []
    assert len({name for stage in plan.stages for name, _ in stage.devices}) == 12
    assert plan.period_s == pytest.approx(1000, rel=0.02)


def test_planner_imports_no_onnx():
    """The scheduler plans on a machine that has no runtime: importing the planner loads none of it."""
    program = (
        "import sys; import onnxmesh.planning.improvement, onnxmesh.model.partition\n"
        "print(*{'onnx', 'onnx_ir', 'onnxruntime'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""

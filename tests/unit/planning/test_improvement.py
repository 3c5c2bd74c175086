"""Improvements of a plan, for clusters computed by hand."""

from __future__ import annotations

import pytest

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.improvement import find_improvement
from onnxmesh.planning.planner import make_plan
from tests.fakes.planned_graphs import cluster, graph, kind


def improvement_of(costs, devices, demand):
    return find_improvement(costs, devices, demand, make_plan(costs, devices, demand))


def test_find_improvement_names_one_more_device():
    """Twelve equal nodes on two devices: a third makes 6 a stage 4."""
    found = improvement_of(graph([100] * 12), cluster(kind("box", 2)), Demand())
    assert found.sentence == "1 more device of kind 'box' would give 1.50 \u00d7 the throughput"
    assert found.gain == pytest.approx(1.5, rel=1e-3)


def test_find_improvement_names_the_kind_with_the_largest_gain():
    """A fast device rather than a slow one."""
    devices = cluster(kind("slow", 2), kind("fast", 1, speed=4.0))
    found = improvement_of(graph([100] * 60), devices, Demand())
    assert found.sentence.startswith("1 more device of kind 'fast' would give 1.67 \u00d7")


def test_find_improvement_names_the_first_of_equal_gains():
    """In the order of the cluster, so that the sentence does not change between calls."""
    devices = cluster(kind("one"), kind("two"))
    found = improvement_of(graph([100] * 12), devices, Demand())
    assert found.sentence == "1 more device of kind 'one' would give 1.50 \u00d7 the throughput"


def test_find_improvement_adds_a_stage_to_a_fixed_number():
    """Two stages stay two: a third device needs a third stage."""
    found = improvement_of(graph([100] * 12), cluster(kind("box", 2)), Demand(num_stages=2))
    assert (
        found.sentence == "1 more device of kind 'box' and 1 more stage would give 1.50 \u00d7 the throughput"
    )


def test_find_improvement_names_the_link_after_the_bottleneck():
    """The only cut sends for as long as the rest computes: a wider link helps, a device does not."""
    costs = graph([10, 10], [100])
    devices = Cluster((kind("a"), kind("b")), {("a", "b"): LinkSpec(1.0, 0.0)}, LinkSpec(1.0, 0.0))
    found = improvement_of(costs, devices, Demand(num_stages=2))
    assert found.sentence == "twice the bandwidth between 'a' and 'b' would give 1.83 \u00d7 the throughput"
    assert found.gain == pytest.approx(110 / 60)


def test_find_improvement_names_a_stage_that_cannot_be_cut_further():
    """One node takes nearly all the time, and one device for each stage was requested."""
    found = improvement_of(graph([1, 100, 1]), cluster(kind("box", 3)), Demand(num_stages=3))
    assert found.gain == 1.0
    assert found.sentence.endswith("the slowest stage, nodes 1 to 1, cannot be cut further")


def test_find_improvement_of_a_graph_without_nodes_is_none():
    """All of it is constant, so there is nothing to cut or to speed up."""
    assert improvement_of(graph([]), cluster(kind("box", 2)), Demand()) is None


def test_find_improvement_of_latency_names_the_link():
    """Memory forces a cut; latency is the sum of all, so the sending counts."""
    costs = graph([10, 10], [100], weights=[(0,), (1,)], weight_bytes=(10, 10))
    devices = Cluster((kind("a", 2, memory=10),), default_link=LinkSpec(1.0, 0.0))
    found = improvement_of(costs, devices, Demand(Objective.LATENCY))
    assert found.sentence == "twice the bandwidth between 'a' and 'a' would reduce the latency to 58 %"


def test_find_improvement_is_none_where_nothing_helps():
    """One request alone on one device that it fits: no other device makes it faster."""
    assert improvement_of(graph([10, 10]), cluster(kind("a")), Demand(Objective.LATENCY)) is None

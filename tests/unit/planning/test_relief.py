"""What would relieve a bottleneck is found by planning again with it."""

from __future__ import annotations

import pytest

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.improvement import find_improvement
from onnxmesh.planning.planner import make_plan
from tests.fakes.planned_graphs import cluster, graph, kind


def relief_of(costs, devices, demand):
    return find_improvement(costs, devices, demand, make_plan(costs, devices, demand))


def test_one_more_device_takes_its_share():
    """Twelve equal nodes on two devices: a third makes 6 a stage 4."""
    found = relief_of(graph([100] * 12), cluster(kind("box", 2)), Demand())
    assert found.sentence == "one more 'box' would give 1.5 x the throughput"
    assert found.gain == pytest.approx(1.5, rel=1e-3)


def test_the_kind_that_helps_most_is_named():
    """A fast device rather than a slow one."""
    devices = cluster(kind("slow", 2), kind("fast", 1, speed=4.0))
    found = relief_of(graph([100] * 60), devices, Demand())
    assert found.sentence.startswith("one more 'fast' would give 1.7 x")


def test_a_number_of_stages_as_asked_needs_one_more_with_the_device():
    """Two stages stay two: a third device needs a third stage."""
    found = relief_of(graph([100] * 12), cluster(kind("box", 2)), Demand(num_stages=2))
    assert found.sentence == "one more 'box' and a stage more would give 1.5 x the throughput"


def test_a_thin_link_is_named():
    """The only cut sends for as long as the rest computes: a wider link helps, a device does not."""
    costs = graph([10, 10], [100])
    devices = Cluster((kind("a"), kind("b")), {("a", "b"): LinkSpec(1.0, 0.0)}, LinkSpec(1.0, 0.0))
    found = relief_of(costs, devices, Demand(num_stages=2))
    assert found.sentence == "twice the bandwidth between 'a' and 'b' would give 1.8 x the throughput"
    assert found.gain == pytest.approx(110 / 60)


def test_what_cannot_be_cut_finer_is_said():
    """One node takes nearly all the time, and one device for each stage was asked for."""
    found = relief_of(graph([1, 100, 1]), cluster(kind("box", 3)), Demand(num_stages=3))
    assert found.gain == 1.0
    assert found.sentence.endswith("the slowest stage, nodes 1 to 1, cannot be cut finer")


def test_one_request_alone_is_relieved_by_the_link():
    """Memory forces a cut; latency is the sum of all, so the sending counts."""
    costs = graph([10, 10], [100], weights=[(0,), (1,)], weight_bytes=(10, 10))
    devices = Cluster((kind("a", 2, memory=10),), default_link=LinkSpec(1.0, 0.0))
    found = relief_of(costs, devices, Demand(Objective.LATENCY))
    assert found.sentence == "twice the bandwidth between 'a' and 'a' would answer one request 1.7 x as fast"


def test_nothing_may_help():
    """One request alone on one device that it fits: no other device makes it faster."""
    assert relief_of(graph([10, 10]), cluster(kind("a")), Demand(Objective.LATENCY)) is None

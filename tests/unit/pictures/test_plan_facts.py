"""Data of a plan's picture, computed by hand."""

from __future__ import annotations

from onnxmesh.model.graph_costs import InputUse
from onnxmesh.model.plan import Demand
from onnxmesh.pictures.plan_facts import devices_text, plan_facts
from onnxmesh.planning.planner import make_plan
from tests.fakes.planned_graphs import cluster, graph, kind


def test_facts_count_carried_inputs_and_times_of_the_slowest_device():
    """An input of 40 bytes is carried to node 1; node times are those of the devices that hold the stages."""
    costs = graph([10, 20, 30], [1, 2], inputs=(InputUse("x", 40, (0, 1)),))
    devices = cluster(kind(count=3), latency_s=1.0)
    plan = make_plan(costs, devices, Demand(num_stages=3))
    facts = plan_facts("m", plan, costs, devices, None, "estimated")
    assert facts.node_s == (10.0, 20.0, 30.0)
    assert (facts.live_bytes(1), facts.live_bytes(2)) == (41, 2)
    assert (facts.input_bytes, facts.bytes_of_input("x")) == (40, 40)


def test_devices_text_counts_devices_where_there_are_several():
    """One device is its kind's name."""
    costs = graph([60])
    (single,) = make_plan(costs, cluster(kind("a")), Demand()).stages
    (mixed,) = make_plan(costs, cluster(kind("a", 2), kind("b", speed=2.0)), Demand(replicas=3)).stages
    assert devices_text(single) == "a"
    assert devices_text(mixed) == "2 \u00d7 a + 1 \u00d7 b"

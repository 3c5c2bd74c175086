"""Times of nodes: measured, scaled, estimated."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidPlan
from onnxmesh.ids import Digest
from onnxmesh.model.cluster import DeviceKind
from onnxmesh.model.device_speed import PICOSECONDS, DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.node_times import node_times
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile
from onnxmesh.model.signature import Signature

SPEED = DeviceSpeed(flops_per_s=1e9, bytes_per_s=1e9, node_overhead_s=0.0)


def profile(node_s=(0.5, 0.25)) -> Profile:
    """Times of two nodes on kind `cpu`."""
    return Profile(Digest("a" * 64), OptimisationLevel.EXTENDED, {}, {"cpu": DeviceTimes(node_s, SPEED)})


def costs() -> GraphCosts:
    nodes = (NodeCost("a", "MatMul", 10**9, 0, ()), NodeCost("b", "Add", 0, 10**9, ()))
    return GraphCosts(nodes, (Boundary(4, 1),), (), (), Signature((), ()))


def test_node_times_are_the_measured_ones_of_the_kind():
    """Found by the kind's profile name, or its own."""
    expected = [round(0.5 * PICOSECONDS), round(0.25 * PICOSECONDS)]
    assert node_times(costs(), DeviceKind("cpu"), profile()) == expected
    assert node_times(costs(), DeviceKind("box", profile="cpu"), profile()) == expected


def test_node_times_of_another_kind_are_scaled_node_by_node():
    """By what the two devices are estimated at: one computes twice as fast and moves as fast."""
    other = DeviceKind("other", speed=DeviceSpeed(2e9, 1e9, 0.0))
    assert node_times(costs(), other, profile()) == [
        round(0.25 * PICOSECONDS),
        round(0.25 * PICOSECONDS),
    ]


def test_node_times_without_a_profile_are_estimated():
    """One second each here, and the overhead of a node."""
    kind = DeviceKind("cpu", speed=DeviceSpeed(1e9, 1e9, 0.5))
    both = GraphCosts((NodeCost("a", "Add", 10**9, 10**9, ()),), (), (), (), Signature((), ()))
    assert node_times(both, kind) == [round(2.5 * PICOSECONDS)]


def test_node_times_refuse_a_profile_of_another_graph():
    """It has another number of nodes."""
    with pytest.raises(InvalidPlan, match="times of 3 nodes, the graph has 2"):
        node_times(costs(), DeviceKind("cpu"), profile(node_s=(1.0, 1.0, 1.0)))

"""Models of the route table."""

from __future__ import annotations

from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from tests.fakes.routed_models import routed_model

A, B = ("a", "h:1"), ("b", "h:2")


def table(*models):
    return RoutingTable.from_proto(RouteTable(epoch=3, models=models))


def test_inputs_by_hop_is_empty_unless_a_later_stage_has_direct_inputs():
    """Then each hop that the gateway sends to is there with what it gets, hop 0 even with nothing."""
    stages = [[A], [B], [A]]
    for direct, by_hop in (
        ({}, {}),
        ({0: ("x",)}, {}),
        ({0: ("x", "y"), 2: ("y", "z")}, {0: {"x", "y"}, 2: {"y", "z"}}),
        ({1: ("x",)}, {0: set(), 1: {"x"}}),
    ):
        model = table(routed_model(stages, direct=direct)).find("m", "")
        assert model.inputs_by_hop == by_hop
        assert list(model.inputs_by_hop) == sorted(by_hop)

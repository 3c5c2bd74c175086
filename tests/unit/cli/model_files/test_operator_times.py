"""Times summed by operator."""

from __future__ import annotations

from onnxmesh.cli.model_files.operator_times import OperatorTimes, operator_times
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.signature import Signature


def model_costs(*operators: str) -> GraphCosts:
    nodes = tuple(NodeCost(f"n{at}", name, 10, 100, ()) for at, name in enumerate(operators))
    return GraphCosts(nodes, (Boundary(4, 1),) * (len(nodes) - 1), (), (), Signature((), ()))


def test_operator_times_are_summed_slowest_first():
    """Nodes, seconds, operations and bytes."""
    found = operator_times(model_costs("Add", "Conv", "Add"), (1.0, 5.0, 2.0))
    assert found == [OperatorTimes("Conv", 1, 5.0, 10, 100), OperatorTimes("Add", 2, 3.0, 20, 200)]
    assert found[0].flops_per_s == 2.0
    assert OperatorTimes("none", 0, 0.0, 0, 0).flops_per_s == 0.0

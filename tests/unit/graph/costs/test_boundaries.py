"""Boundaries at all positions, against the values that cross each of them."""

from __future__ import annotations

import onnx
import pytest

from onnxmesh.graph.costs.boundary_values import BoundaryValues
from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node

SMALL = sorted(name for name, made in ZOO.items() if made.everywhere)


@pytest.mark.parametrize("level", [OptimisationLevel.NONE, OptimisationLevel.EXTENDED])
@pytest.mark.parametrize("name", SMALL)
def test_boundaries_count_the_values_that_cross_each_cut(tmp_path, name, level):
    """Carried from one position to the next or looked at for one position alone, the same values cross."""
    optimised = optimise(ZOO[name].build(tmp_path), tmp_path / "work", level)
    types = boundary_types(optimised)
    row = topological_order(load_graph(optimised))
    crossing = BoundaryValues(row, types)
    boundaries = analyse_graph(optimised, types=types).boundaries
    for position, boundary in enumerate(boundaries, start=1):
        computed = [value for value in crossing.at_cut(position, -1) if value not in row.inputs]
        assert boundary.num_tensors == len(computed)


def test_boundaries_count_thousands_of_live_values(tmp_path):
    """Every node's result is kept to the end: the n-th boundary has n tensors."""
    nodes = [node("Tanh", [f"t{number - 1}" if number else "x"], [f"t{number}"]) for number in range(3000)]
    nodes.append(node("Sum", [f"t{number}" for number in range(3000)], ["y"]))
    onnx.save(model(nodes, [floats("x", 2)], [floats("y", 2)]), tmp_path / "m.onnx")
    costs = analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "work", OptimisationLevel.NONE))
    assert [boundary.num_tensors for boundary in costs.boundaries] == list(range(1, 3001))
    assert [boundary.num_bytes for boundary in costs.boundaries] == [8 * count for count in range(1, 3001)]

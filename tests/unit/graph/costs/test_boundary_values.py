"""Values that cross a cut, and values that are rematerialised."""

from __future__ import annotations

import onnx_ir as ir

from onnxmesh.graph.costs.boundary_values import BoundaryValues
from onnxmesh.graph.reading.node_order import topological_order, value_name
from onnxmesh.graph.reading.value_types import ValueType
from tests.zoo.zoo_model import floats, model, node

FLOATS, SHAPE = ValueType("tensor(float)", ("N",)), ValueType("tensor(int64)", (1,))
TYPES = {"x": FLOATS, "h": FLOATS, "k": FLOATS, "s": SHAPE, "y": FLOATS}


def values_at(nodes):
    """Returns a function of a position: the names of the values that cross there."""
    order = topological_order(ir.from_proto(model(nodes, [floats("x", "N")], [floats("y", "N")])))
    values = BoundaryValues(order, TYPES)
    return lambda position, start=0: [value_name(value) for value in values.at_cut(position, start)]


def test_boundary_values_rematerialise_a_shape_whose_tensor_crosses():
    """h crosses position 2, so Shape(h) is computed again behind it."""
    crossing = values_at(
        [node("Tanh", ["x"], ["h"]), node("Shape", ["h"], ["s"]), node("Reshape", ["h", "s"], ["y"])]
    )
    assert crossing(2) == ["h"]


def test_boundary_values_include_a_shape_whose_tensor_does_not_cross():
    """Only k and the shape of h are read behind position 3."""
    crossing = values_at(
        [
            node("Tanh", ["x"], ["h"]),
            node("Shape", ["h"], ["s"]),
            node("Exp", ["h"], ["k"]),
            node("Reshape", ["k", "s"], ["y"]),
        ]
    )
    assert crossing(3) == ["s", "k"]


def test_boundary_values_rematerialise_nothing_if_the_stage_before_had_no_output():
    """A stage of the Shape node alone has to send its result."""
    crossing = values_at(
        [node("Tanh", ["x"], ["h"]), node("Shape", ["h"], ["s"]), node("Reshape", ["h", "s"], ["y"])]
    )
    assert crossing(2, start=1) == ["h", "s"]

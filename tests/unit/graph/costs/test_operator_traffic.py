"""Bytes moved by operators, computed by hand."""

from __future__ import annotations

import numpy as np
import onnx

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, integers, model, node

MICROSOFT = {"": 20, "com.microsoft": 1}


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def first(tmp_path, nodes, inputs, outputs, weights=None, **options) -> NodeCost:
    """The costs of the first node of a graph."""
    return costs_of(tmp_path, model(nodes, inputs, outputs, weights, MICROSOFT), **options).nodes[0]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_traffic_of_a_gather_is_its_output(tmp_path):
    """Three rows of four numbers, read and written, and their indices: not the table of a thousand."""
    lookup = first(
        tmp_path,
        [node("Gather", ["table", "ids"], ["y"])],
        [integers("ids", 3)],
        [floats("y", 3, 4)],
        {"table": zeros(1000, 4)},
    )
    assert lookup.bytes_moved == 2 * (3 * 4 * 4) + 3 * 8
    assert lookup.flops == 0


def test_traffic_of_a_reshape_is_zero(tmp_path):
    """Reshape gives its input on."""
    reshaped = first(
        tmp_path,
        [node("Reshape", ["x", "shape"], ["y"])],
        [floats("x", 6, 4)],
        [floats("y", 24)],
        {"shape": np.array([24])},
    )
    assert reshaped.bytes_moved == 0

"""Scratch memory of kernels, computed by hand."""

from __future__ import annotations

import numpy as np
import onnx

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, model, node

MICROSOFT = {"": 20, "com.microsoft": 1}


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def first(tmp_path, nodes, inputs, outputs, weights=None, **options) -> NodeCost:
    """The costs of the first node of a graph."""
    return costs_of(tmp_path, model(nodes, inputs, outputs, weights, MICROSOFT), **options).nodes[0]


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_scratch_of_a_convolution_is_its_im2col_buffer(tmp_path):
    """More filters than pixels: all of it, in and out besides. A window of one pixel needs none."""
    wide = first(
        tmp_path,
        [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])],
        [floats("x", 1, 8, 4, 4)],
        [floats("y", 1, 32, 4, 4)],
        {"w": zeros(32, 8, 3, 3)},
    )
    values = 4 * (8 * 16 + 32 * 16)
    unfolded = 4 * (8 * 9) * 16
    assert wide.working_bytes == max((values + unfolded) * 7 // 5, 4 * 32 * 8 * 9)
    assert wide.bytes_moved == values + 4 * 32 * 8 * 9 + 2 * unfolded
    flat = first(
        tmp_path,
        [node("Conv", ["x", "w"], ["y"])],
        [floats("x", 1, 8, 4, 4)],
        [floats("y", 1, 32, 4, 4)],
        {"w": zeros(32, 8, 1, 1)},
    )
    assert flat.working_bytes == values * 7 // 5

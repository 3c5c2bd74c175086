"""Working memory of nodes, computed by hand."""

from __future__ import annotations

import numpy as np
import onnx

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, integers, model, node


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def test_working_memory_counts_live_values_and_outputs(tmp_path):
    """While `late` is carried past a small node, it counts there too; the arena takes two fifths more."""
    made = model(
        [
            node("Relu", ["x"], ["late"]),
            node("ReduceMax", ["x"], ["small"], keepdims=0),
            node("Neg", ["small"], ["negative"]),
            node("Add", ["late", "negative"], ["y"]),
        ],
        [floats("x", 1000)],
        [floats("y", 1000)],
    )
    figures = [found.working_bytes for found in costs_of(tmp_path, made).nodes]
    assert figures == [size * 7 // 5 for size in (8000, 8004, 4008, 8004)]


def test_working_memory_counts_a_prepacked_weight_twice(tmp_path):
    """A matrix product packs its weight when it is loaded; a lookup leaves its table as it is."""
    product = costs_of(
        tmp_path,
        model(
            [node("MatMul", ["x", "w"], ["y"])],
            [floats("x", 1, 100)],
            [floats("y", 1, 50)],
            {"w": zeros(100, 50)},
        ),
    )
    assert product.nodes[0].working_bytes == 100 * 50 * 4
    assert product.peak_bytes(0, 1) == 2 * 100 * 50 * 4
    lookup = costs_of(
        tmp_path,
        model(
            [node("Gather", ["w", "x"], ["y"])],
            [integers("x", 1)],
            [floats("y", 1, 50)],
            {"w": zeros(100, 50)},
        ),
    )
    assert lookup.nodes[0].working_bytes == (8 + 200) * 7 // 5

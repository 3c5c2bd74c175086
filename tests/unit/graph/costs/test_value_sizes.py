"""Sizes of values at shapes of a run."""

from __future__ import annotations

import onnx
from onnx import TensorProto

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo.zoo_model import floats, model, node


def costs_of(tmp_path, made, level=OptimisationLevel.NONE, shapes=None, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), shapes, **options)


def test_value_sizes_prefer_measured_shapes(tmp_path):
    """The number of elements that are not zero depends on the data."""
    made = model(
        [node("NonZero", ["x"], ["where"]), node("Cast", ["where"], ["y"], to=TensorProto.FLOAT)],
        [floats("x", 100)],
        [floats("y", 1, "K")],
    )
    unknown = costs_of(tmp_path, made)
    assert unknown.boundaries[0].num_bytes == 8
    seen = costs_of(tmp_path, made, measured_shapes={"where": (1, 100), "y": (1, 100)})
    assert seen.boundaries[0].num_bytes == 800

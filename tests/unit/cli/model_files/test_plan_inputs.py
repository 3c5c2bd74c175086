"""The inputs of a plan."""

from __future__ import annotations

from onnxmesh.cli.model_files.plan_inputs import model_costs, planned_shapes
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from tests.zoo import ZOO


def test_planned_shapes_replace_a_symbol_in_every_input(tmp_path):
    """A given shape sets the symbol in all inputs that have it."""
    model = ZOO["tied_weights"].build(tmp_path)
    shapes = InputShapes(inputs={"tokens": (3, 7)})
    costs = model_costs(model, OptimisationLevel.EXTENDED, CutMode.EXACT, shapes)
    assert planned_shapes(model, costs, shapes) == {"tokens": (3, 7)}
    assert costs.inputs[0].num_bytes == 3 * 7 * 8

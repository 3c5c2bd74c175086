"""A model's file as what a planner must know of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxmesh.graph.workshop import prepare
from onnxmesh.planning.cut_mode import CutMode
from onnxmesh.planning.graph_costs import GraphCosts
from onnxmesh.planning.input_shapes import InputShapes
from onnxmesh.planning.optimisation_level import OptimisationLevel


def costs_of(model: Path, level: OptimisationLevel, mode: CutMode, shapes: InputShapes) -> GraphCosts:
    """Prepares a model as a worker does at a deployment, in a folder that goes at once.

    Args:
        model: The model's file.
        level: What ONNX Runtime does to the whole before the cut.
        mode: Whether it is cut after or before it is optimised.
        shapes: To plan with.

    Raises:
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: The shapes do not fit it (INVALID_ARGUMENT).
    """
    with tempfile.TemporaryDirectory(prefix="onnxmesh-plan-") as work:
        return GraphCosts.from_json(prepare(str(model), work, level.value))

"""A model's file as what a planner must know of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare
from onnxmesh.graph.checks.verify import input_symbols
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel


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
        prepared = json.loads(prepare(PrepareJob(model, Path(work), PrepareOptions(level, mode, shapes))))
    return GraphCosts.from_json(prepared["costs"])


def planned_shapes(model: Path, costs: GraphCosts, shapes: InputShapes) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each input that a model is planned with.

    Args:
        model: The model's file.
        costs: Of it.
        shapes: What was asked for.

    Raises:
        InvalidRequest: They do not fit it (INVALID_ARGUMENT).
    """
    return shapes.of(costs.signature.inputs, input_symbols(model))

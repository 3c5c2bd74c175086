"""Inputs of `onnxmesh plan`: the costs and shapes of a model's graph, and devices like this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxmesh.device.device_kind import device_kind_name
from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import prepare_here
from onnxmesh.graph.checks.verify import input_symbols
from onnxmesh.graph.measuring.device_benchmark import cached_device_speed
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel

_THREADS = 1


def model_costs(model: Path, level: OptimisationLevel, mode: CutMode, shapes: InputShapes) -> GraphCosts:
    """Prepares a model as a worker does at a deployment, in a temporary folder, and returns its graph's costs.

    Args:
        model: The model's file.
        level: ONNX Runtime's optimisation of the whole model before the cut.
        mode: Whether the model is cut after or before its optimisation.
        shapes: The input shapes to plan for.

    Raises:
        InvalidModel: The model cannot be served (INVALID_ARGUMENT).
        InvalidRequest: The shapes do not fit the model (INVALID_ARGUMENT).
    """
    with tempfile.TemporaryDirectory(prefix="onnxmesh-plan-") as work:
        job = PrepareJob(model, Path(work), PrepareOptions(level, mode, shapes), follow_links=True)
        prepared = prepare_here(job)
    return GraphCosts.from_json(prepared["costs"])


def planned_shapes(model: Path, costs: GraphCosts, shapes: InputShapes) -> dict[str, tuple[int, ...]]:
    """Returns the complete shape of each input that a model is planned with.

    Args:
        model: The model's file.
        costs: The costs of its graph, with its signature.
        shapes: The shapes given in options.

    Raises:
        InvalidRequest: The shapes do not fit the model (INVALID_ARGUMENT).
    """
    return shapes.of(costs.signature.inputs, input_symbols(model))


def local_cluster(num_devices: int) -> Cluster:
    """Returns devices like one thread of this machine, with links like those between its processes.

    Measures this machine's speed unless a cached measurement exists. Memory is unbounded: the devices stand for machines
    like this one.
    """
    name = device_kind_name(_THREADS)
    return Cluster((DeviceKind(name, num_devices, cached_device_speed(name, _THREADS)),))

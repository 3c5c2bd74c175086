"""Measured costs: the costs of a graph at measured shapes, and a profile of its times."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from onnxmesh.device.device_kind import device_kind_name, parse_device_kind
from onnxmesh.device.execution_provider import CPU
from onnxmesh.graph.costs.graph_analysis import analyse_graph, resolve_input_shapes
from onnxmesh.graph.measuring.attribution import attribute_times
from onnxmesh.graph.measuring.device_benchmark import cached_device_speed
from onnxmesh.graph.measuring.profiler import MeasuredRun, Progress, profile_model
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.ids import Digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import PICOSECONDS, DeviceSpeed
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile

_SEED = 0


def measure_costs(
    graph: Path,
    digest: Digest,
    level: OptimisationLevel,
    mode: CutMode,
    *,
    types: Mapping[str, ValueType],
    costs: GraphCosts,
    shapes: InputShapes,
    seconds: float,
    device: str = "",
    speed: Callable[[str], DeviceSpeed] | None = None,
    progress: Progress | None = None,
) -> tuple[GraphCosts, Profile]:
    """Runs a graph on random inputs and returns its costs at the measured shapes, and its profile.

    In exact mode the graph runs unchanged. In portable mode ONNX Runtime optimises it for this device, and the times
    of fused nodes are attributed to the nodes that they replace.

    Args:
        graph: The model that is cut.
        digest: Digest of the source model.
        level: Optimisation level of the graph.
        mode: The mode of the cut.
        types: Types of its values, by name.
        costs: Result of `analyse_graph` for it.
        shapes: The shapes of the plan.
        seconds: Approximate time to run; see `profile_model`.
        device: Device kind, as named by `device_kind_name`: it determines threads and execution providers. Empty: one
            thread of the CPU.
        speed: Returns the measured speed of a device kind; None: `cached_device_speed`.
        progress: Receives the share that is done.

    Raises:
        ModelRunFailed: The model refuses random inputs (INVALID_ARGUMENT).
        InvalidModel: ONNX Runtime cannot load the graph (INVALID_ARGUMENT).
        InvalidRequest: The device kind is malformed (INVALID_ARGUMENT).
    """
    threads, providers = parse_device_kind(device)
    kind = device or device_kind_name(threads)
    measured_at = speed(kind) if speed else cached_device_speed(kind, threads, providers)
    order = topological_order(load_graph(graph))
    at, _ = resolve_input_shapes(costs.signature, types, shapes)
    feeds = random_inputs(costs.signature.inputs, _SEED, shapes=at, bounds=index_bounds(order))
    fused = mode.load_level is not OptimisationLevel.NONE

    def run(model: Path, load_level: OptimisationLevel = OptimisationLevel.NONE) -> MeasuredRun:
        return profile_model(
            model,
            feeds,
            threads=threads,
            providers=providers,
            level=load_level,
            seconds=seconds,
            progress=progress,
        )

    if fused and providers == (CPU,):
        with tempfile.TemporaryDirectory(prefix=".fused-", dir=graph.parent) as folder:
            measured = run(optimise(graph, Path(folder), mode.load_level))
    else:
        measured = run(graph, mode.load_level)
    measured_graph = analyse_graph(graph, shapes, types, measured.shapes)
    expected = [
        measured_at.node_ps(node.flops, node.bytes_moved) / PICOSECONDS for node in measured_graph.nodes
    ]
    times = DeviceTimes(attribute_times(measured, order, expected), measured_at)
    return measured_graph, Profile(digest, level, at, {kind: times}, mode)

"""From a model that was cut to what is known about running its requests together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnxmesh.device.device_kind import this_cpu_class
from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.batch_axis import batch_axis_obstacle, has_other_free_dims
from onnxmesh.graph.checks.batched_runs import Tensors, compare_batched_runs
from onnxmesh.graph.costs.graph_analysis import resolve_input_shapes
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.model.batching import ANY_ROWS, BatchingSpec, BatchMode, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.partition import Partition

DEFAULT_MAX_ROWS = 32
"""Most rows of one run where the operator says nothing."""

MAX_SPLIT_ROWS = 128
"""Most rows of a request that is compared with its rows alone, so that it may be run in pieces."""

MAX_ACTIVATION_BYTES = 256 * 1024 * 1024
"""What the activations of one run may take where the operator says nothing: plans count on single requests."""

MAX_CHECK_S = 4.0
"""About how long a check may take; it tries fewer rows rather than taking longer."""

_FLOPS_PER_S = 40e9
_BYTES_PER_S = 10e9
"""What one thread is taken to do in a second. Not measured, so that a model is found the same wherever it is cut."""

_ODD_DIMS = (3, 5)
"""Other figures for free dimensions beside the first: rows of other sizes start at other alignments."""


def check_batching(
    graph: Path,
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    wish: BatchingSpec,
    *,
    costs: GraphCosts,
    types: Mapping[str, ValueType],
    shapes: InputShapes,
    accepted: float,
) -> list[StageBatching]:
    """Finds out which of a chain's stages may run requests together.

    Args:
        graph: What was cut.
        folder: Where the partitions are.
        partitions: The chain, in order.
        mode: How it was cut.
        wish: What the operator asked for.
        costs: Of the graph, at `shapes`.
        types: Of its values.
        shapes: What was planned for.
        accepted: Largest relative difference where bits need not be equal.

    Returns:
        One for each stage.
    """
    if wish.mode is BatchMode.OFF or wish.max_rows == 1:
        return _none(partitions, "it is off")
    dims = {spec.name: types[spec.name].dims or () for spec in costs.signature.inputs}
    if why_not := batch_axis_obstacle(costs.signature, dims):
        return _none(partitions, why_not)
    exact = mode is CutMode.EXACT and wish.mode is BatchMode.AUTO
    figures = (None, *_ODD_DIMS) if has_other_free_dims(costs.signature.inputs) else (None,)
    planned, _ = resolve_input_shapes(costs.signature, types, shapes)
    planned_rows = max(1, next(iter(planned.values()))[0])
    fitting = _fitting(costs, planned_rows)
    wanted = wish.max_rows or min(DEFAULT_MAX_ROWS, fitting)
    # Requests with more rows than run together may be run in pieces, if their bits are known.
    to_try = max(wanted, min(MAX_SPLIT_ROWS, fitting)) if exact and len(partitions) > 1 else wanted
    tried = _checkable(costs, planned_rows, len(figures), to_try, every_size=exact)
    if tried < 2:
        return _none(partitions, "the activations of two rows, or trying them, take too much")
    bounds = index_bounds(topological_order(load_graph(graph)))
    cases = []
    for figure in figures:
        at = _at(costs, dims, planned, figure)
        cases.append(
            [random_inputs(costs.signature.inputs, seed, shapes=at, bounds=bounds) for seed in range(tried)]
        )
    found = _tried(folder, partitions, mode, cases, 0.0 if exact else accepted)
    if exact:
        cpu_class = this_cpu_class()
        return [
            replace(
                each,
                max_rows=min(each.max_rows, wanted),
                max_split_rows=each.max_rows,
                cpu_class=cpu_class,
            )
            if each.max_rows > 1
            else each
            for each in found
        ]
    # Sizes between and beyond those that were tried are taken to be as close.
    return [
        replace(each, max_rows=wanted, max_split_rows=ANY_ROWS) if each.max_rows > 1 else each
        for each in found
    ]


def _tried(
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    cases: Sequence[Sequence[Tensors]],
    accepted: float,
) -> list[StageBatching]:
    """Checks at the shapes that are planned for, and at others as far as the model takes them."""
    try:
        return compare_batched_runs(folder, partitions, mode, cases, accepted)
    except ModelRunFailed as error:
        if len(cases) > 1:
            return _tried(folder, partitions, mode, cases[:1], accepted)
        return _none(partitions, f"it refuses random rows: {error.message}")


def _at(
    costs: GraphCosts,
    dims: Mapping[str, Sequence[int | str | None]],
    planned: Mapping[str, tuple[int, ...]],
    figure: int | None,
) -> dict[str, tuple[int, ...]]:
    """Returns shapes of one row: the planned ones, or with another figure for every other free dimension."""
    at = {}
    for spec in costs.signature.inputs:
        declared = spec.shape or ()
        rest = [
            size if figure is None or dim >= 0 else figure
            for size, dim in zip(planned[spec.name][1:], declared[1:], strict=True)
        ]
        at[spec.name] = (1, *rest)
    return at


def _fitting(costs: GraphCosts, planned_rows: int) -> int:
    row_bytes = max((node.working_bytes for node in costs.nodes), default=0) / planned_rows
    return DEFAULT_MAX_ROWS if row_bytes <= 0 else int(MAX_ACTIVATION_BYTES / row_bytes)


def _checkable(costs: GraphCosts, planned_rows: int, num_cases: int, wanted: int, *, every_size: bool) -> int:
    """Returns how many rows, up to those wanted, can be tried together in the time that there is."""
    flops = sum(node.flops for node in costs.nodes) / planned_rows
    moved = sum(node.bytes_moved for node in costs.nodes) / planned_rows
    row_s = max(flops / _FLOPS_PER_S, moved / _BYTES_PER_S)

    def takes_s(rows: int) -> float:
        batches = rows * (rows + 1) / 2 - 1 if every_size else 5 + rows
        return num_cases * (rows + 2 + batches) * row_s

    return next((rows for rows in range(wanted, 1, -1) if takes_s(rows) <= MAX_CHECK_S), 1)


def _none(partitions: Iterable[Partition], why_not: str) -> list[StageBatching]:
    return [StageBatching(why_not=why_not) for _ in partitions]

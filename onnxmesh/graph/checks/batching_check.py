"""The batching check: which stages may run requests together, and up to how many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from onnxmesh.device.device_kind import this_cpu_class
from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.batch_axis import batch_axis_obstacle, has_other_free_dims
from onnxmesh.graph.checks.batched_runs import Tensors, compare_batched_runs
from onnxmesh.graph.checks.hard_rows import EXTREME, harden
from onnxmesh.graph.checks.time_limit import TimeLimit
from onnxmesh.graph.costs.graph_analysis import resolve_input_shapes
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.graph.rows.stage_proof import StageProof, prove_stages
from onnxmesh.model.batching import ANY_ROWS, MAX_CHECK_S, BatchingSpec, BatchMode, StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.partition import Partition

DEFAULT_MAX_ROWS = 32
"""Most rows of one run where the spec sets no limit."""

MAX_SPLIT_ROWS = 128
"""Most rows of a request that the check compares with single rows, so that it may be split."""

MAX_ACTIVATION_BYTES = 256 * 1024 * 1024
"""Limit on the activations of one batched run where the spec sets no limit: plans assume single requests."""

_FLOPS_PER_S = 40e9
_BYTES_PER_S = 10e9
"""Assumed speed of one thread. A constant, so that the finding for a model does not depend on the machine."""

_EXTRA_DIMS = (3, 5)
"""Additional sizes of free dimensions other than the first: rows of other sizes have other alignments."""


def check_batching(
    graph: Path,
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    spec: BatchingSpec,
    *,
    costs: GraphCosts,
    types: Mapping[str, ValueType],
    shapes: InputShapes,
    accepted: float,
    clock: Callable[[], float] | None = None,
) -> list[StageBatching]:
    """Finds the stages of a chain that may run requests together.

    By `auto` those do whose rows are proven to be independent by the structure of the graph, and whose batched runs
    agree with single ones; by `on` the runs alone decide.

    Args:
        graph: The model that was cut.
        folder: Folder of the partitions.
        partitions: The chain, in order.
        mode: The mode of the cut.
        spec: The requested batching.
        costs: Costs of the graph at `shapes`.
        types: Types of its values, by name.
        shapes: The shapes of the plan.
        accepted: Largest relative difference where bits need not be equal.
        clock: Monotonic time in seconds, which bounds proof and runs; None: `check_clock`.

    Returns:
        A finding for each stage.
    """
    if spec.mode is BatchMode.OFF or spec.max_rows == 1:
        return _none(partitions, "switched off")
    dims = {spec.name: types[spec.name].dims or () for spec in costs.signature.inputs}
    if why_not := batch_axis_obstacle(costs.signature, dims):
        return _none(partitions, why_not)
    exact = mode is CutMode.EXACT and spec.mode is BatchMode.AUTO
    sizes = (None, *_EXTRA_DIMS) if has_other_free_dims(costs.signature.inputs) else (None,)
    planned, _ = resolve_input_shapes(costs.signature, types, shapes)
    planned_rows = max(1, next(iter(planned.values()))[0])
    fitting = _rows_within_memory(costs, planned_rows)
    wanted = spec.max_rows or min(DEFAULT_MAX_ROWS, fitting)
    # Requests of more rows than one run allows may be split, where their bits were compared.
    to_try = max(wanted, min(MAX_SPLIT_ROWS, fitting)) if exact and len(partitions) > 1 else wanted
    num_rows = _rows_within_time(costs, planned_rows, len(sizes), to_try, every_size=exact)
    if num_rows < 2:
        return _none(
            partitions, "two rows exceed the limit of memory for activations or of time for the check"
        )
    model = load_graph(graph)
    bounds = index_bounds(topological_order(model))
    limit = TimeLimit(MAX_CHECK_S, clock)
    proofs = prove_stages(model, dims, partitions, limit.expired, why_expired=limit.reason)
    if spec.mode is BatchMode.AUTO and all(proof.why_not for proof in proofs):
        return [StageBatching(why_not=proof.why_not) for proof in proofs]
    cases = []
    for size_of_free in sizes:
        at = _at(costs, dims, planned, size_of_free)
        cases.append(
            [
                random_inputs(costs.signature.inputs, seed, shapes=at, bounds=bounds)
                for seed in range(num_rows)
            ]
        )
    with_rows = proofs[0].with_rows if exact else frozenset()
    runs = partial(
        compare_batched_runs,
        folder,
        partitions,
        mode,
        accepted=0.0 if exact else accepted,
        limit=limit,
        with_rows=with_rows,
    )
    found = [
        _agreed(each, proof, spec.mode)
        for each, proof in zip(_compare(runs, partitions, cases, bounds), proofs, strict=True)
    ]
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
    # Sizes that were not tried are assumed to differ by as little.
    return [
        replace(each, max_rows=wanted, max_split_rows=ANY_ROWS) if each.max_rows > 1 else each
        for each in found
    ]


def _agreed(found: StageBatching, proof: StageProof, mode: BatchMode) -> StageBatching:
    """Returns the finding of the runs where the proof agrees with it, or where the owner demands batches."""
    if found.max_rows < 2:
        return found if mode is BatchMode.ON or not proof.why_not else StageBatching(why_not=proof.why_not)
    why_not = proof.why_not
    if not why_not and not proof.shared.issuperset(found.shared):
        unlike = sorted(set(found.shared) - proof.shared)
        why_not = f"'{unlike[0]}' was equal for all rows that were run, and is not proven to be"
    if not why_not:
        return found
    return replace(found, not_proven=why_not) if mode is BatchMode.ON else StageBatching(why_not=why_not)


def _compare(
    runs: Callable[..., list[StageBatching]],
    partitions: Sequence[Partition],
    cases: Sequence[Sequence[Tensors]],
    bounds: Mapping[str, int],
) -> list[StageBatching]:
    """Compares runs of hard rows; where the model refuses them, of random rows, and at the shapes of the plan only."""
    hard = [harden(rows, bounds) for rows in cases]
    attempts: list[tuple[Sequence[Sequence[Tensors]], frozenset[int]]] = [
        (hard, EXTREME), (hard[:1], EXTREME), (cases[:1], frozenset())
    ]  # fmt: skip
    reason = ""
    for attempt, extreme in attempts:
        try:
            return runs(attempt, extreme=extreme)
        except ModelRunFailed as error:
            reason = error.message
    return _none(partitions, f"the model refuses random rows: {reason}")


def _at(
    costs: GraphCosts,
    dims: Mapping[str, Sequence[int | str | None]],
    planned: Mapping[str, tuple[int, ...]],
    size_of_free: int | None,
) -> dict[str, tuple[int, ...]]:
    """Returns shapes of one row: those of the plan, or with another size for every other free dimension."""
    at = {}
    for spec in costs.signature.inputs:
        declared = spec.shape or ()
        rest = [
            size if size_of_free is None or dim >= 0 else size_of_free
            for size, dim in zip(planned[spec.name][1:], declared[1:], strict=True)
        ]
        at[spec.name] = (1, *rest)
    return at


def _rows_within_memory(costs: GraphCosts, planned_rows: int) -> int:
    row_bytes = max((node.working_bytes for node in costs.nodes), default=0) / planned_rows
    return DEFAULT_MAX_ROWS if row_bytes <= 0 else int(MAX_ACTIVATION_BYTES / row_bytes)


def _rows_within_time(
    costs: GraphCosts, planned_rows: int, num_cases: int, wanted: int, *, every_size: bool
) -> int:
    """Returns the number of rows, at most `wanted`, that the check can try within its time limit."""
    flops = sum(node.flops for node in costs.nodes) / planned_rows
    moved = sum(node.bytes_moved for node in costs.nodes) / planned_rows
    row_s = max(flops / _FLOPS_PER_S, moved / _BYTES_PER_S)

    def takes_s(rows: int) -> float:
        batches = rows * (rows + 1) / 2 - 1 if every_size else 5 + rows
        return num_cases * (rows + 2 + batches) * row_s

    return next((rows for rows in range(wanted, 1, -1) if takes_s(rows) <= MAX_CHECK_S), 1)


def _none(partitions: Iterable[Partition], why_not: str) -> list[StageBatching]:
    return [StageBatching(why_not=why_not) for _ in partitions]

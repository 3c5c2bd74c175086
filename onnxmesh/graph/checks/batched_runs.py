"""Runs each stage of a chain on single rows and on batches of them, as a worker would, and compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.chain_comparison import copy_tensors, may_prepack
from onnxmesh.graph.checks.difference import OutputDifference, compare_tensors
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.rows import concat_rows, has_rows, split_rows
from onnxmesh.tensors.tensor import Tensor

Tensors = Mapping[str, Tensor]


class RowDependence(Enum):
    """What becomes of a tensor when a request has more rows."""

    ROWS = "rows"
    """Its first dimension counts them."""
    SHARED = "shared"
    """It is the same, to the bit."""
    ODD = "odd"
    """Something else."""


def compare_batched_runs(
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    cases: Sequence[Sequence[Tensors]],
    accepted: float,
) -> list[StageBatching]:
    """Finds out for each stage how many rows may run together. No two stages are loaded at the same time.

    Each row goes through the chain alone, and two of them as one request, which shows what grows with the batch. Each
    stage then runs batches of what came to it for the single rows.

    Args:
        folder: Where the partitions are.
        partitions: The chain, in order.
        mode: How it was cut.
        cases: The model's inputs for requests of one row each, one list for each shape of the other dimensions. As many
            as are to be tried together, two at the least.
        accepted: Largest relative difference from single runs; 0: equal bit for bit, which is then tried at every size.

    Returns:
        One for each stage. Where a difference is accepted, `max_rows` is that of the largest case.

    Raises:
        ModelRunFailed: A stage refuses one row, or two as one request (INVALID_ARGUMENT).
    """
    prepack = may_prepack(partitions)
    grown = dict.fromkeys(cases[0][0], RowDependence.ROWS)
    given = [[*rows, _joined(rows[:2], grown)] for rows in cases]
    alive = [[dict(request) for request in requests] for requests in given]
    found = []
    for partition in partitions:
        session = StageSession(folder / f"stage-{partition.index}", level=mode.load_level, prepack=prepack)
        before = [
            [has | direct_feeds(partition, gets) for has, gets in zip(requests, gotten, strict=True)]
            for requests, gotten in zip(alive, given, strict=True)
        ]
        computed = [[copy_tensors(session.run(request)) for request in requests] for requests in before]
        alive = [
            [live_tensors(partition, *each) for each in zip(requests, answers, strict=True)]
            for requests, answers in zip(before, computed, strict=True)
        ]
        for spec in partition.outputs:
            grown[spec.name] = _growth([[each[spec.name] for each in answers] for answers in computed])
        found.append(_check_stage(session, partition, before, computed, grown, accepted))
    return found


def _check_stage(
    session: StageSession,
    partition: Partition,
    before: Sequence[Sequence[Tensors]],
    computed: Sequence[Sequence[Tensors]],
    grown: Mapping[str, RowDependence],
    accepted: float,
) -> StageBatching:
    if why_not := _why_not(partition, grown):
        return StageBatching(why_not=why_not)
    names = [spec.name for spec in (*partition.inputs, *partition.outputs)]
    shared = tuple(dict.fromkeys(name for name in names if grown[name] is RowDependence.SHARED))
    wanted = len(before[0]) - 1
    largest = 0.0
    for size in sorted({2, min(3, wanted), wanted}) if accepted else range(2, wanted + 1):
        for requests, answers in zip(before, computed, strict=True):
            inputs = [{spec.name: each[spec.name] for spec in partition.inputs} for each in requests[:size]]
            try:
                together = session.run(_joined(inputs, grown))
            except ModelRunFailed as error:
                return StageBatching(why_not=f"a batch of {size} fails: {error.message}")
            worst = _largest(together, answers[:size], grown)
            if worst > accepted:
                if size > 2 and not accepted:
                    return StageBatching(size - 1, shared)
                return StageBatching(why_not=_differs(size, worst), largest_difference=worst)
            largest = max(largest, worst)
    return StageBatching(wanted, shared, largest)


def _joined(requests: Sequence[Tensors], grown: Mapping[str, RowDependence]) -> dict[str, Tensor]:
    return {
        name: tensor
        if grown[name] is RowDependence.SHARED
        else concat_rows([request[name] for request in requests])
        for name, tensor in requests[0].items()
    }


def _growth(seen: Sequence[Sequence[Tensor]]) -> RowDependence:
    """Returns how a value grows; `seen` has, for each case, that of single rows, and last that of two."""
    kinds = set()
    for *singles, pair in seen:
        if all(tensor.shape[:1] == (1,) for tensor in singles) and pair.shape[:1] == (2,):
            kinds.add(RowDependence.ROWS)
        elif all(compare_tensors(pair, tensor).equal for tensor in singles):
            kinds.add(RowDependence.SHARED)
        else:
            kinds.add(RowDependence.ODD)
    return kinds.pop() if len(kinds) == 1 else RowDependence.ODD


def _why_not(partition: Partition, grown: Mapping[str, RowDependence]) -> str:
    for spec in (*partition.inputs, *partition.outputs):
        if grown[spec.name] is RowDependence.ODD:
            return f"'{spec.name}' neither has a row for each of the batch nor stays the same"
        if grown[spec.name] is RowDependence.ROWS and not has_rows(Datatype(spec.datatype)):
            return f"'{spec.name}' is {spec.datatype}, which is not cut into rows"
    if all(grown[spec.name] is RowDependence.SHARED for spec in partition.inputs):
        return "none of its inputs has rows"
    return ""


def _largest(together: Tensors, singles: Sequence[Tensors], grown: Mapping[str, RowDependence]) -> float:
    """Returns the largest relative difference of the pieces of a batch from single runs; infinite if it has others."""
    seen: list[OutputDifference] = []
    for name, tensor in together.items():
        if grown[name] is RowDependence.SHARED:
            pieces = [tensor] * len(singles)
        elif tensor.shape[:1] == (len(singles),):
            pieces = split_rows(tensor, [1] * len(singles))
        else:
            return float("inf")
        seen += [compare_tensors(single[name], piece) for single, piece in zip(singles, pieces, strict=True)]
    return max((each.largest_relative for each in seen), default=0.0)


def _differs(size: int, difference: float) -> str:
    return f"a batch of {size} differs from single runs by {difference:.2g}"

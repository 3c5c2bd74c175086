"""Comparison of batched runs of each stage with runs of single rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.chain_comparison import copy_tensors, may_prepack
from onnxmesh.graph.checks.difference import compare_tensors
from onnxmesh.graph.checks.discrete_values import model_with_values
from onnxmesh.graph.checks.hard_rows import EXTREME_BOUND
from onnxmesh.graph.checks.time_limit import TimeLimit
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import StageBatching
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.rows import concat_rows, has_rows, split_rows
from onnxmesh.tensors.tensor import Tensor

Tensors = Mapping[str, Tensor]

_NUM_NEEDED = 3
"""A request of two rows, and two of one row each, show how tensors depend on the number of rows."""


class RowDependence(Enum):
    """How a tensor depends on the number of rows of a request."""

    PER_ROW = "per_row"
    """Its first dimension is the number of rows."""
    SHARED = "shared"
    """It is equal, bit for bit, for any number of rows."""
    IRREGULAR = "irregular"
    """Neither of these."""


def compare_batched_runs(
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    cases: Sequence[Sequence[Tensors]],
    accepted: float,
    *,
    limit: TimeLimit | None = None,
    with_rows: Collection[str] = (),
    extreme: Collection[int] = (),
) -> list[StageBatching]:
    """Finds the largest batch of each stage whose results match those of single rows. One stage is loaded at a time.

    Each row passes the chain alone, and two rows pass it as one request, which shows how tensors depend on the number
    of rows. Each stage then runs batches of the inputs that it had for single rows.

    Args:
        folder: Folder of the partitions.
        partitions: The chain, in order.
        mode: The mode of the cut.
        cases: The model's inputs for requests of one row each: a list for each shape of the other dimensions, with as
            many requests as the largest batch to try, at least 2.
        accepted: Largest relative difference from single runs; 0: equal bits, which are tried at every size.
        limit: Time limit of the runs, which end in time for every stage; None: no limit.
        with_rows: Values within stages that have one row at each index of their first axis. Those that an operator
            makes discrete are compared too.
        extreme: Numbers of the requests whose values are extreme: where a difference is accepted, theirs may be up to
            `EXTREME_BOUND`.

    Returns:
        A finding for each stage. Where a difference is accepted, `max_rows` is the size of the largest batch tried.

    Raises:
        ModelRunFailed: A stage refuses one row, or two as one request (INVALID_ARGUMENT).
    """
    limit = limit or TimeLimit(math.inf)
    prepack = may_prepack(partitions)
    dependence = dict.fromkeys(cases[0][0], RowDependence.PER_ROW)
    # The request of two rows is first: it and two single rows are what every finding needs.
    given = [[_joined(rows[:2], dependence), *rows] for rows in cases]
    live = [[dict(request) for request in requests] for requests in given]
    found: list[StageBatching] = []
    for partition in partitions:
        stage = folder / f"stage-{partition.index}"
        with limit.paused(), model_with_values(stage, with_rows) as model:
            session = StageSession(model, level=mode.load_level, prepack=prepack)
        share = limit.share(len(partitions) - len(found))
        before = [
            [has | direct_feeds(partition, gets) for has, gets in zip(requests, gotten, strict=False)]
            for requests, gotten in zip(live, given, strict=True)
        ]
        computed = _run_while_time(session, before, share)
        if computed is None:
            return found + [StageBatching(why_not=limit.reason)] * (len(partitions) - len(found))
        before = [requests[: len(computed[0])] for requests in before]
        live = [
            [live_tensors(partition, *each) for each in zip(requests, answers, strict=True)]
            for requests, answers in zip(before, computed, strict=True)
        ]
        for spec in session.outputs:
            dependence[spec.name] = _row_dependence(
                [[each[spec.name] for each in answers] for answers in computed]
            )
        bounds = [
            max(accepted, EXTREME_BOUND) if accepted and number in extreme else accepted
            for number in range(len(computed[0]) - 1)
        ]
        found.append(_check_stage(session, partition, before, computed, dependence, bounds, share))
    return found


def _run_while_time(
    session: StageSession, cases: Sequence[Sequence[Tensors]], share: TimeLimit
) -> list[list[dict[str, Tensor]]] | None:
    """Returns the answers to the pair, and to as many single rows as half of the time allows; None if not to two."""
    singles = share.share(2)
    computed: list[list[dict[str, Tensor]]] = [[] for _ in cases]
    for number in range(len(cases[0])):
        for requests, answers in zip(cases, computed, strict=True):
            if number <= _NUM_NEEDED - 1 and share.expired():
                return None
            answers.append(copy_tensors(session.run(requests[number])))
        if number >= _NUM_NEEDED - 1 and singles.expired():
            break
    return computed


def _check_stage(
    session: StageSession,
    partition: Partition,
    before: Sequence[Sequence[Tensors]],
    computed: Sequence[Sequence[Tensors]],
    dependence: Mapping[str, RowDependence],
    bounds: Sequence[float],
    share: TimeLimit,
) -> StageBatching:
    if why_not := _obstacle(partition, dependence):
        return StageBatching(why_not=why_not)
    names = [spec.name for spec in (*partition.inputs, *partition.outputs)]
    shared = tuple(dict.fromkeys(name for name in names if dependence[name] is RowDependence.SHARED))
    wanted = len(before[0]) - 1
    largest, checked, accepted = 0.0, 1, bounds[0]
    for size in sorted({2, min(3, wanted), wanted}) if accepted else range(2, wanted + 1):
        for (_, *requests), (_, *answers) in zip(before, computed, strict=True):
            if share.expired():
                return (
                    StageBatching(checked, shared, largest)
                    if checked > 1
                    else StageBatching(why_not=share.reason)
                )
            inputs = [{spec.name: each[spec.name] for spec in partition.inputs} for each in requests[:size]]
            try:
                together = session.run(_joined(inputs, dependence))
            except ModelRunFailed as error:
                return StageBatching(why_not=f"a batch of {size} fails: {error.message}")
            differences = _differences(together, answers[:size], dependence)
            worst = max(differences)
            if any(found > bound for found, bound in zip(differences, bounds, strict=False)):
                if size > 2 and not accepted:
                    return StageBatching(size - 1, shared)
                return StageBatching(why_not=_differs(size, worst), largest_difference=worst)
            largest = max(largest, worst)
        checked = size
    return StageBatching(wanted, shared, largest)


def _joined(requests: Sequence[Tensors], dependence: Mapping[str, RowDependence]) -> dict[str, Tensor]:
    return {
        name: tensor
        if dependence[name] is RowDependence.SHARED
        else concat_rows([request[name] for request in requests])
        for name, tensor in requests[0].items()
    }


def _row_dependence(cases: Sequence[Sequence[Tensor]]) -> RowDependence:
    """Returns how a value depends on rows; each case has its value for two rows, then those for single ones."""
    kinds = set()
    for pair, *singles in cases:
        if all(tensor.shape[:1] == (1,) for tensor in singles) and pair.shape[:1] == (2,):
            kinds.add(RowDependence.PER_ROW)
        elif all(compare_tensors(pair, tensor).equal for tensor in singles):
            kinds.add(RowDependence.SHARED)
        else:
            kinds.add(RowDependence.IRREGULAR)
    return kinds.pop() if len(kinds) == 1 else RowDependence.IRREGULAR


def _obstacle(partition: Partition, dependence: Mapping[str, RowDependence]) -> str:
    for spec in (*partition.inputs, *partition.outputs):
        if dependence[spec.name] is RowDependence.IRREGULAR:
            return f"'{spec.name}' has neither one row for each row of the batch nor the same value for all"
        if dependence[spec.name] is RowDependence.PER_ROW and not has_rows(Datatype(spec.datatype)):
            return f"'{spec.name}' is {spec.datatype}, which cannot be split into rows"
    if all(dependence[spec.name] is RowDependence.SHARED for spec in partition.inputs):
        return "none of its inputs depends on the rows"
    return ""


def _differences(
    together: Tensors, singles: Sequence[Tensors], dependence: Mapping[str, RowDependence]
) -> list[float]:
    """Returns the largest relative difference of each row of a batch from its single run; infinite if shapes differ."""
    largest = [0.0] * len(singles)
    for name, tensor in together.items():
        if dependence[name] is RowDependence.SHARED:
            rows_of_batch = [tensor] * len(singles)
        elif tensor.shape[:1] == (len(singles),):
            rows_of_batch = split_rows(tensor, [1] * len(singles))
        else:
            return [float("inf")] * len(singles)
        for number, (single, row) in enumerate(zip(singles, rows_of_batch, strict=True)):
            difference = compare_tensors(single[name], row).largest_relative
            largest[number] = max(largest[number], difference)
    return largest


def _differs(size: int, difference: float) -> str:
    return f"a batch of {size} differs from single runs by {difference:.2g}"

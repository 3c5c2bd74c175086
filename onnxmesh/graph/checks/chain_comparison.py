"""Comparison of a chain with the whole model on the same inputs, with one of them loaded at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.difference import OutputDifference, compare_tensors, worst_difference
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.tensor import Tensor

_MAX_PREPACKED_BYTES = 1024 * 1024 * 1024
"""Weights from this total on are not prepacked: mapped from their files, their memory can be reclaimed."""


def compare_chain(
    whole: Path,
    level: OptimisationLevel,
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    inputs: Sequence[Mapping[str, Tensor]],
) -> list[OutputDifference]:
    """Runs the whole model and its partitions, each on one thread, and compares their outputs.

    One session is loaded at a time.

    Args:
        whole: The whole model.
        level: Optimisation level of the whole model.
        folder: Folder of the partitions.
        partitions: The chain, in order.
        mode: The mode of the cut.
        inputs: Inputs to run, each by name.

    Returns:
        A difference for each output of the model, over all inputs.

    Raises:
        InvalidModel: The model or a partition cannot be loaded (INVALID_ARGUMENT).
        ModelRunFailed: The whole model or a stage refuses an input (INVALID_ARGUMENT).
    """
    prepack = may_prepack(partitions)
    session = StageSession(whole, level=level, prepack=prepack)
    try:
        expected = [copy_tensors(session.run(feeds)) for feeds in inputs]
    except ModelRunFailed as error:
        raise ModelRunFailed(f"the whole model refuses random inputs: {error.message}") from error
    del session
    live = [dict(feeds) for feeds in inputs]
    for partition in partitions:
        home = folder / f"stage-{partition.index}"
        stage = StageSession(home, level=mode.load_level, prepack=prepack)
        for number, feeds in enumerate(inputs):
            before = live[number] | direct_feeds(partition, feeds)
            live[number] = copy_tensors(live_tensors(partition, before, stage.run(before)))
    names = partitions[-1].live_out
    return [
        worst_difference(
            name,
            [compare_tensors(one[name], other[name]) for one, other in zip(expected, live, strict=True)],
        )
        for name in names
    ]


def may_prepack(partitions: Sequence[Partition]) -> bool:
    """Whether a chain's weights are small enough to be prepacked for a check."""
    return sum(partition.weight_bytes for partition in partitions) < _MAX_PREPACKED_BYTES


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies that do not keep alive the session that computed the tensors."""
    return {
        name: Tensor(name, tensor.datatype, tensor.shape, bytes(tensor.data))
        for name, tensor in tensors.items()
    }

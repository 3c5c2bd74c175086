"""A chain beside the whole model, on the same inputs, in little memory."""

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

_MAPPED_FROM_BYTES = 1024 * 1024 * 1024
"""From so many bytes of weights on, kernels keep no copies of them: they are mapped from their files, and the
system can take their memory back."""


def compare_chain(
    whole: Path,
    level: OptimisationLevel,
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    inputs: Sequence[Mapping[str, Tensor]],
) -> list[OutputDifference]:
    """Runs the whole model and its partitions one after another, each on one thread, and compares their answers.

    No two of them are loaded at the same time.

    Args:
        whole: The model.
        level: How it is optimised for that.
        folder: Where the partitions are.
        partitions: The chain, in order.
        mode: How it was cut.
        inputs: Inputs to try, each by name.

    Returns:
        One for each output of the model, over all inputs.

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
    alive = [dict(feeds) for feeds in inputs]
    for partition in partitions:
        home = folder / f"stage-{partition.index}"
        stage = StageSession(home, level=mode.load_level, prepack=prepack)
        for number, feeds in enumerate(inputs):
            before = alive[number] | direct_feeds(partition, feeds)
            alive[number] = copy_tensors(live_tensors(partition, before, stage.run(before)))
    names = partitions[-1].live_out
    return [
        worst_difference(
            name,
            [compare_tensors(one[name], other[name]) for one, other in zip(expected, alive, strict=True)],
        )
        for name in names
    ]


def may_prepack(partitions: Sequence[Partition]) -> bool:
    """Whether kernels may keep their own copies of a chain's weights while it is only tried."""
    return sum(partition.weight_bytes for partition in partitions) < _MAPPED_FROM_BYTES


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies that do not keep the session alive that computed them."""
    return {
        name: Tensor(name, tensor.datatype, tensor.shape, bytes(tensor.data))
        for name, tensor in tensors.items()
    }

"""Comparison of a chain with the whole model on the same inputs, with one of them loaded at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.difference import OutputDifference, compare_tensors, worst_difference
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import shapes_text
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
    trials: Iterable[Sequence[Mapping[str, Tensor]]],
) -> tuple[list[OutputDifference], Sequence[Mapping[str, Tensor]]]:
    """Runs the whole model and its partitions, each on one thread, and compares their outputs.

    One session is loaded at a time.

    Args:
        whole: The whole model.
        level: Optimisation level of the whole model.
        folder: Folder of the partitions.
        partitions: The chain, in order.
        mode: The mode of the cut.
        trials: Inputs to run, each by name; the first trial of which the whole model accepts every input is used.

    Returns:
        A difference for each output of the model, over all inputs of that trial, and those inputs.

    Raises:
        InvalidModel: The model or a partition cannot be loaded (INVALID_ARGUMENT).
        ModelRunFailed: The whole model refuses every trial, or a stage refuses an input (INVALID_ARGUMENT).
    """
    inputs, expected = _run_first_accepted(
        StageSession(whole, level=level, prepack=may_prepack(partitions)), trials
    )
    live = [dict(feeds) for feeds in inputs]
    for partition in partitions:
        home = folder / f"stage-{partition.index}"
        stage = StageSession(home, level=mode.load_level, prepack=may_prepack(partitions))
        for number, feeds in enumerate(inputs):
            before = live[number] | direct_feeds(partition, feeds)
            live[number] = copy_tensors(live_tensors(partition, before, stage.run(before)))
    names = partitions[-1].live_out
    found = [
        worst_difference(
            name,
            [compare_tensors(one[name], other[name]) for one, other in zip(expected, live, strict=True)],
        )
        for name in names
    ]
    return found, inputs


def _run_first_accepted(
    session: StageSession, trials: Iterable[Sequence[Mapping[str, Tensor]]]
) -> tuple[Sequence[Mapping[str, Tensor]], list[dict[str, Tensor]]]:
    """Returns the first inputs that the model accepts, and its outputs; the session is not kept."""
    refused: dict[str, str] = {}
    """Why the model refused inputs, by their shapes."""
    for inputs in trials:
        outputs = []
        for feeds in inputs:
            try:
                outputs.append(copy_tensors(session.run(feeds)))
            except ModelRunFailed as error:
                refused.setdefault(
                    shapes_text({name: tensor.shape for name, tensor in feeds.items()}), error.message
                )
                break
        else:
            return inputs, outputs
    first, why = next(iter(refused.items()), ("", "none were given"))
    tried = "; ".join(refused)
    every = f"every shape that was tried ({tried}); the first: " if len(refused) > 1 else f"shape {first}: "
    raise ModelRunFailed(f"the whole model refuses inputs of {every}{why}")


def may_prepack(partitions: Sequence[Partition]) -> bool:
    """Whether a chain's weights are small enough to be prepacked for a check."""
    return sum(partition.weight_bytes for partition in partitions) < _MAX_PREPACKED_BYTES


def copy_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns copies that do not keep alive the session that computed the tensors."""
    return {
        name: Tensor(name, tensor.datatype, tensor.shape, bytes(tensor.data))
        for name, tensor in tensors.items()
    }

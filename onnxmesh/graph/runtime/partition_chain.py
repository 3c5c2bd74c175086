"""A chain of partitions run in this process, and the tensors that pass from stage to stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import Internal, InvalidRequest
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.tensor import Tensor


class PartitionChain:
    """Runs the partitions of a model one after another, without a mesh.

    Args:
        folder: The folder that `cut_model` wrote.
        partitions: What `cut_model` returned, in order.
        threads: Threads within an operator, for each stage.
        providers: ONNX Runtime execution providers, best first.
        level: Optimisation at load: `CutMode.load_level` of the mode in which the model was cut.

    Raises:
        InvalidModel: ONNX Runtime cannot load a partition (INVALID_ARGUMENT).
        Unsatisfiable: A provider is not there (FAILED_PRECONDITION).
    """

    def __init__(
        self,
        folder: Path,
        partitions: Sequence[Partition],
        *,
        threads: int = 1,
        providers: Sequence[str] = (CPU,),
        level: OptimisationLevel = OptimisationLevel.NONE,
    ) -> None:
        self._stages = [
            (
                partition,
                StageSession(
                    folder / f"stage-{partition.index}", threads=threads, providers=providers, level=level
                ),
            )
            for partition in partitions
        ]

    def run(self, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Runs all stages and returns the model's outputs by name.

        Args:
            feeds: The model's inputs by name.

        Raises:
            InvalidRequest: An input is missing or malformed (INVALID_ARGUMENT).
            ModelRunFailed: ONNX Runtime refused the inputs of a stage (INVALID_ARGUMENT).
        """
        live: dict[str, Tensor] = dict(feeds)
        for partition, session in self._stages:
            before = live | direct_feeds(partition, feeds)
            live = live_tensors(partition, before, session.run(before))
        return live


def direct_feeds(partition: Partition, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the direct inputs of a stage: those that the gateway sends to it.

    Args:
        partition: The stage.
        feeds: The model's inputs by name.

    Raises:
        InvalidRequest: One of them is missing (INVALID_ARGUMENT).
    """
    missing = [name for name in partition.direct_inputs if name not in feeds]
    if missing:
        raise InvalidRequest(f"input '{missing[0]}' is missing")
    return {name: feeds[name] for name in partition.direct_inputs}


def live_tensors(
    partition: Partition, before: Mapping[str, Tensor], computed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns the tensors that are live after a stage, computed or passed on, in the order of `live_out`.

    Args:
        partition: The stage.
        before: The tensors live before it, and its direct inputs.
        computed: The outputs of its session.

    Raises:
        InvalidRequest: A tensor that the stage passes on is missing (INVALID_ARGUMENT).
        Internal: The session returned fewer outputs than the partition declares.
    """
    declared = {spec.name for spec in partition.outputs}
    after: dict[str, Tensor] = {}
    for name in partition.live_out:
        if name in computed:
            after[name] = computed[name]
        elif name in before:
            after[name] = before[name]
        elif name in declared:
            raise Internal(f"stage {partition.index} did not compute '{name}'")
        else:
            raise InvalidRequest(f"input '{name}' is missing")
    return after

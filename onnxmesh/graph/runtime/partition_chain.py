"""The partitions of a model run one after another in this process."""

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
    """A model as its partitions, without a mesh: what every hop does, in a loop.

    Args:
        folder: The folder that `cut` wrote.
        partitions: What `cut` returned, in order.
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
        threads: int = 1,
        providers: Sequence[str] = (CPU,),
        level: OptimisationLevel = OptimisationLevel.NONE,
    ) -> None:
        self._stages = [
            (partition, StageSession(folder / f"stage-{partition.index}", threads, providers, level))
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
        alive: dict[str, Tensor] = dict(feeds)
        for partition, session in self._stages:
            before = alive | direct_feeds(partition, feeds)
            alive = live_tensors(partition, before, session.run(before))
        return alive


def direct_feeds(partition: Partition, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns what a gateway sends straight to a stage.

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
    """Returns what is alive after a stage: what it computed and what it passes on, in `live_out`'s order.

    Args:
        partition: The stage.
        before: What was alive before it, and its direct inputs.
        computed: What its session answered.

    Raises:
        InvalidRequest: A tensor that the stage passes on was not sent along (INVALID_ARGUMENT).
        Internal: The stage did not compute what it promised.
    """
    promised = {spec.name for spec in partition.outputs}
    after: dict[str, Tensor] = {}
    for name in partition.live_out:
        if name in computed:
            after[name] = computed[name]
        elif name in before:
            after[name] = before[name]
        elif name in promised:
            raise Internal(f"stage {partition.index} did not compute '{name}'")
        else:
            raise InvalidRequest(f"input '{name}' is missing")
    return after

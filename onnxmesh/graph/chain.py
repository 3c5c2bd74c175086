"""The partitions of a model run one after another in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxmesh.errors import Internal, InvalidRequest
from onnxmesh.graph.session import CPU, StageSession
from onnxmesh.planning.partition import Partition
from onnxmesh.tensors.tensor import Tensor


class Chain:
    """A model as its partitions, without a mesh: what every hop does, in a loop.

    Args:
        folder: The folder that `cut` wrote.
        partitions: What `cut` returned, in order.
        threads: Threads within an operator, for each stage.
        providers: ONNX Runtime execution providers, best first.

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
    ) -> None:
        self._stages = [
            (partition, StageSession(folder / f"stage-{partition.index}", threads, providers))
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
            alive = carry(partition, alive, session.run(alive))
        return alive


def carry(
    partition: Partition, before: Mapping[str, Tensor], computed: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Returns what is alive after a stage: what it computed and what it passes on, in `live_out`'s order.

    Args:
        partition: The stage.
        before: What was alive before it.
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

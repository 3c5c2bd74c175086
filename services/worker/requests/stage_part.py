"""What a worker must know of a partition to run it in a pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import Digest, StageKey
from onnxmesh.tensors.compression.compression_choice import NO_LOSS, LossAllowance
from onnxmesh.v1.model_pb2 import Partition
from services.worker.requests.batch_rule import BatchRule


@dataclass(frozen=True, slots=True)
class StagePart:
    """A partition in its place.

    Attributes:
        stage: The key under which it is held.
        digest: Names its files.
        outputs: What its model computes.
        live_out: Every tensor alive after it, in the order in which they travel.
        weight_bytes: Bytes of its weights.
        direct_inputs: What of its inputs comes straight from the gateway.
        batching: Which of its requests may run together; None: each runs alone.
        allowance: What of that which leaves it may lose bits on a slow link.
    """

    stage: StageKey
    digest: Digest
    outputs: frozenset[str]
    live_out: tuple[str, ...]
    weight_bytes: int
    direct_inputs: frozenset[str] = frozenset()
    batching: BatchRule | None = None
    allowance: LossAllowance = NO_LOSS

    @classmethod
    def of(cls, stage: StageKey, partition: Partition) -> StagePart:
        """Reads it off a PlaceStage."""
        return cls(
            stage,
            Digest(partition.artefact.digest),
            frozenset(spec.name for spec in partition.outputs),
            tuple(partition.live_out),
            partition.weight_bytes,
            frozenset(partition.direct_inputs),
            BatchRule.of(partition),
            LossAllowance.of_labels(partition.lossy_encodings, partition.lossy_tensors),
        )

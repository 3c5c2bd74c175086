"""Specification of a stage: what a worker needs to know of a partition to run it in a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, replace

from onnxmesh.ids import Digest, StageKey
from onnxmesh.tensors.compression.compression_choice import NO_LOSS, LossAllowance
from onnxmesh.v1.model_pb2 import Partition
from services.worker.requests.batch_rule import BatchRule


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """A partition as a stage of a model.

    Attributes:
        stage: Key of the stage.
        digest: Of the partition's files.
        outputs: Tensors that it computes.
        live_out: Tensors alive after it, in the order in which they travel.
        weight_bytes: Bytes of its weights.
        direct_inputs: Inputs that come straight from the gateway, not from the stage before.
        batching: Which requests may run together; None: each runs alone.
        allowance: Which outgoing tensors may lose bits on a slow link.
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
    def of(cls, stage: StageKey, partition: Partition) -> StageSpec:
        """Returns the specification in a PlaceStage command."""
        return cls(
            stage=stage,
            digest=Digest(partition.artefact.digest),
            outputs=frozenset(output.name for output in partition.outputs),
            live_out=tuple(partition.live_out),
            weight_bytes=partition.weight_bytes,
            direct_inputs=frozenset(partition.direct_inputs),
            batching=BatchRule.of(partition),
            allowance=LossAllowance.of_labels(partition.lossy_encodings, partition.lossy_tensors),
        )

    def on_cpu_class(self, cpu_class: str) -> StageSpec:
        """Returns the specification for a worker of a CPU class: without a batch rule that was proven on another.

        Args:
            cpu_class: Of the worker; empty where stages do not run on its CPU.
        """
        if self.batching is None or self.batching.cpu_class in {"", cpu_class}:
            return self
        return replace(self, batching=None)

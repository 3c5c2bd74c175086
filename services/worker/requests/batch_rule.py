"""Batch rule of a stage: which of its requests may run together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.model_pb2 import Partition
from services.worker.requests.stage_request import StageRequest

MAX_SHARED_BYTES = 64 * 1024
"""Largest shared tensor whose content is compared; requests with larger ones run alone."""


@dataclass(frozen=True, slots=True)
class BatchGroup:
    """Requests of equal groups may run together.

    Attributes:
        like: Shapes behind the batch axis, and the content of shared tensors.
        rows: Rows of the request itself, at least 1.
    """

    like: Hashable
    rows: int


@dataclass(frozen=True, slots=True)
class BatchRule:
    """What the batch check found about a stage when the model was cut.

    Attributes:
        inputs: Name and datatype of each input.
        shared: Inputs and outputs that have no batch axis.
        max_rows: Most rows of one run.
        max_delay_s: Longest time that a busy stage waits for more requests; None: the learned delay alone bounds it.
        cpu_class: CPU class that the rule was proven on; empty: it holds on every worker.
    """

    inputs: tuple[tuple[str, Datatype], ...]
    shared: frozenset[str]
    max_rows: int
    max_delay_s: float | None = None
    cpu_class: str = ""

    @classmethod
    def of(cls, partition: Partition) -> BatchRule | None:
        """Returns the rule that a partition carries; None where each request runs alone."""
        batching = partition.batching
        if batching.max_rows < 2 or all(spec.name in batching.shared for spec in partition.inputs):
            return None
        return cls(
            tuple((spec.name, Datatype(spec.datatype)) for spec in partition.inputs),
            frozenset(batching.shared),
            batching.max_rows,
            batching.max_delay_us / 1e6 if batching.HasField("max_delay_us") else None,
            batching.cpu_class,
        )

    def group_of(self, request: StageRequest) -> BatchGroup | None:
        """Returns the group of a request; None where it runs alone.

        A request whose tensors do not fit the inputs runs alone, so that it fails alone.
        """
        rows: int | None = None
        like: list[Hashable] = []
        for name, datatype in self.inputs:
            tensor = request.tensors.get(name)
            if tensor is None or tensor.datatype is not datatype:
                return None
            if tensor.byte_size != datatype.byte_size(tensor.num_elements):
                return None
            if name in self.shared:
                if tensor.byte_size > MAX_SHARED_BYTES:
                    return None
                like.append((tensor.shape, bytes(tensor.data)))
                continue
            if not tensor.shape or tensor.shape[0] != (tensor.shape[0] if rows is None else rows):
                return None
            rows = tensor.shape[0]
            like.append(tensor.shape[1:])
        return BatchGroup(tuple(like), rows) if rows else None

    def row_counts(self, requests: Sequence[StageRequest]) -> list[int]:
        """Returns the rows of each request of one group; 1 for a single request without a group."""
        name = next(name for name, _ in self.inputs if name not in self.shared)
        return [(*request.tensors[name].shape, 1)[0] for request in requests]

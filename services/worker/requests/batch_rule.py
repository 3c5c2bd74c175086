"""Which requests of a stage may run together. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.model_pb2 import Partition
from services.worker.requests.stage_request import StageRequest

MAX_SHARED_BYTES = 64 * 1024
"""Requests are told apart by the content of tensors that they are to share; larger ones are not compared."""


@dataclass(frozen=True, slots=True)
class Group:
    """What a request may run together with.

    Attributes:
        like: Equal for requests that may.
        rows: How many rows it has of its own, at least 1.
    """

    like: Hashable
    rows: int


@dataclass(frozen=True, slots=True)
class BatchRule:
    """What was found about a stage when it was cut.

    Attributes:
        inputs: Its inputs, with their types.
        shared: Inputs and outputs that do not grow with the batch.
        max_rows: Most rows of one run.
        max_delay_s: Longest that a stage at work waits for more; None: what is learned alone.
        cpu_class: The rule is for workers of this class; empty: for all.
    """

    inputs: tuple[tuple[str, Datatype], ...]
    shared: frozenset[str]
    max_rows: int
    max_delay_s: float | None = None
    cpu_class: str = ""

    @classmethod
    def of(cls, partition: Partition) -> BatchRule | None:
        """Reads it off a partition; None where each request runs alone."""
        said = partition.batching
        if said.max_rows < 2 or all(spec.name in said.shared for spec in partition.inputs):
            return None
        return cls(
            tuple((spec.name, Datatype(spec.datatype)) for spec in partition.inputs),
            frozenset(said.shared),
            said.max_rows,
            said.max_delay_us / 1e6 if said.HasField("max_delay_us") else None,
            said.cpu_class,
        )

    def group_of(self, request: StageRequest) -> Group | None:
        """Returns what a whole request may run together with; None: with nothing.

        A request that would fail for its form alone is in no group, so that it fails alone.
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
        return Group(tuple(like), rows) if rows else None

    def rows_of(self, requests: Sequence[StageRequest]) -> list[int]:
        """Returns how many rows each request of one group has; 1 for a single one that is in none."""
        name = next(name for name, _ in self.inputs if name not in self.shared)
        return [(*request.tensors[name].shape, 1)[0] for request in requests]

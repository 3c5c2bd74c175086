"""A request cut into micro-batches, and its answer put together. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from onnxmesh.tensors.rows import concat_rows, split_rows
from onnxmesh.tensors.tensor import Tensor
from services.gateway.requests.inference_request import InferenceRequest


def rows_of(tensors: Sequence[Tensor]) -> int:
    """Returns how many rows a request of one tensor or more has; 0 where they do not agree on that."""
    first = tensors[0].shape[:1]
    return first[0] if first and all(tensor.shape[:1] == first for tensor in tensors) else 0


def split_request(order: InferenceRequest, rows: Sequence[int], number: int) -> list[InferenceRequest]:
    """Returns a request, which gets a number of its own, in pieces of so many rows, in order; tensors are not copied."""
    apart = [split_rows(tensor, rows) for tensor in order.tensors]
    return [replace(order, tensors=tensors, split_of=number) for tensors in zip(*apart, strict=True)]


def join_outputs(
    answers: Sequence[Sequence[Tensor]], rows: Sequence[int], shared: Collection[str]
) -> tuple[Tensor, ...] | None:
    """Returns the answer to the whole of a request that was cut.

    Args:
        answers: The tensors of each piece's answer.
        rows: How many rows each piece has.
        shared: Tensors that do not grow with the batch.

    Returns:
        None where an answer has not a row for each row: then the model looks at more than single rows.
    """
    together = []
    for pieces in zip(*answers, strict=True):
        first = pieces[0]
        if first.name in shared:
            together.append(first)
            continue
        like = {(each.name, each.datatype, each.shape[1:]) for each in pieces}
        if len(like) != 1 or [each.shape[:1] for each in pieces] != [(count,) for count in rows]:
            return None
        together.append(concat_rows(pieces))
    return tuple(together)

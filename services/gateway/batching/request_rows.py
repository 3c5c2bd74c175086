"""Requests and results, split and joined along their first dimension. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from onnxmesh.tensors.rows import concat_rows, split_rows
from onnxmesh.tensors.tensor import Tensor
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult


def num_rows(tensors: Sequence[Tensor]) -> int:
    """Returns the number of rows of one tensor or more; 0 where they differ in it, or have no dimension."""
    first = tensors[0].shape[:1]
    return first[0] if first and all(tensor.shape[:1] == first for tensor in tensors) else 0


def split_request(request: InferenceRequest, rows: Sequence[int], number: int) -> list[InferenceRequest]:
    """Returns the micro-batches of a request, in order; tensors are not copied.

    Args:
        request: The request.
        rows: Number of rows of each micro-batch.
        number: Identifies the request that they are micro-batches of.
    """
    parts = [split_rows(tensor, rows) for tensor in request.tensors]
    return [replace(request, tensors=tensors, split_of=number) for tensors in zip(*parts, strict=True)]


def join_outputs(
    outputs: Sequence[Sequence[Tensor]], rows: Sequence[int], shared: Collection[str]
) -> tuple[Tensor, ...] | None:
    """Returns the outputs of a request from those of its micro-batches.

    Args:
        outputs: The outputs of each micro-batch.
        rows: Number of rows of each micro-batch.
        shared: Names of outputs that do not grow with the batch.

    Returns:
        None where an output has not one row for each row of its micro-batch: the model looks at more than single rows.
    """
    joined = []
    for parts in zip(*outputs, strict=True):
        first = parts[0]
        if first.name in shared:
            joined.append(first)
            continue
        kinds = {(part.name, part.datatype, part.shape[1:]) for part in parts}
        if len(kinds) != 1 or [part.shape[:1] for part in parts] != [(count,) for count in rows]:
            return None
        joined.append(concat_rows(parts))
    return tuple(joined)


def join_requests(requests: Sequence[InferenceRequest], rows: int) -> InferenceRequest:
    """Returns one request with the rows of several like ones, `rows` in all, and the earliest of their deadlines."""
    tensors = tuple(
        Tensor(
            parts[0].name,
            parts[0].datatype,
            (rows, *parts[0].shape[1:]),
            b"".join([part.data for part in parts]),
        )
        for parts in zip(*(request.tensors for request in requests), strict=True)
    )
    return replace(
        requests[0],
        tensors=tensors,
        deadline=min((request.deadline for request in requests), key=lambda deadline: deadline.at_s),
    )


def split_result(
    result: InferenceResult, rows: Sequence[int], shared: Collection[str]
) -> list[InferenceResult] | None:
    """Returns the result of each joined request.

    Args:
        result: Of the joined request.
        rows: Number of rows of each request.
        shared: Names of outputs that do not grow with the batch: every request gets them.

    Returns:
        None where an output has not one row for each row of the input.
    """
    total = (sum(rows),)
    columns: list[Sequence[Tensor]] = []
    for tensor in result.tensors:
        if tensor.name in shared:
            columns.append([tensor] * len(rows))
        elif tensor.shape[:1] == total:
            columns.append(split_rows(tensor, rows))
        else:
            return None
    return [InferenceResult(tensors, result.trace) for tensors in zip(*columns, strict=True)]

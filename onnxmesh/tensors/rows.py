"""Concatenation and splitting of tensors along their first dimension."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxmesh.tensors.allocation import Allocate, allocate_aligned
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.device_tensor import DeviceTensor, concat_adjacent
from onnxmesh.tensors.tensor import Tensor


def has_rows(datatype: Datatype) -> bool:
    """Whether a row of a tensor is a slice of its bytes: not for strings and elements smaller than a byte."""
    return datatype.bits >= 8


def concat_rows(tensors: Sequence[Tensor], allocator: Allocate | None = None) -> Tensor:
    """Returns the rows of all tensors, in order, as one tensor that is aligned for any kernel.

    Tensors that are adjacent in device memory are not copied.

    Args:
        tensors: At least one; equal names, datatypes (with rows, see `has_rows`) and dimensions except the first.
        allocator: Allocates the result; where it is None or returns None, a new buffer is used.
    """
    if (whole := concat_adjacent(tensors)) is not None:
        return whole
    first = tensors[0]
    size = sum(tensor.byte_size for tensor in tensors)
    block = None if allocator is None else allocator(size)
    if block is None:
        block = allocate_aligned(size)
    buffer = np.frombuffer(block, dtype=np.uint8)
    position = 0
    for tensor in tensors:
        end = position + tensor.byte_size
        if end > position:
            np.copyto(buffer[position:end], np.frombuffer(tensor.data, dtype=np.uint8))
        position = end
    rows = sum(tensor.shape[0] for tensor in tensors)
    return Tensor(first.name, first.datatype, (rows, *first.shape[1:]), block)


def split_rows(tensor: Tensor, rows: Sequence[int]) -> list[Tensor]:
    """Returns tensors with the given numbers of rows; they are views of the tensor's memory.

    Args:
        tensor: Of a datatype that has rows; its first dimension is the sum of `rows`.
        rows: Number of rows of each result, in order.
    """
    if isinstance(tensor, DeviceTensor):
        return tensor.split_rows(rows)
    view = memoryview(tensor.data)
    row_bytes = tensor.byte_size // tensor.shape[0] if tensor.shape[0] else 0
    parts: list[Tensor] = []
    start = 0
    for count in rows:
        end = start + count * row_bytes
        parts.append(Tensor(tensor.name, tensor.datatype, (count, *tensor.shape[1:]), view[start:end]))
        start = end
    return parts

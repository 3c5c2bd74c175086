"""Tensors put together along their first dimension, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxmesh.tensors.allocation import Allocate, allocate_aligned
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.device_tensor import DeviceTensor, concat_adjacent
from onnxmesh.tensors.tensor import Tensor


def has_rows(datatype: Datatype) -> bool:
    """Whether a row of a tensor is a slice of its bytes: not so for strings and elements smaller than a byte."""
    return datatype.bits >= 8


def concat_rows(tensors: Sequence[Tensor], allocator: Allocate | None = None) -> Tensor:
    """Returns the rows of all tensors, in order, as one tensor that is aligned for any kernel.

    Those that follow each other in a device's memory stay there.

    Args:
        tensors: One or more of one name and datatype, that has rows, and equal but for their first dimension.
        allocator: Where the tensor had better be; None, or where there is no room: in a fresh buffer.
    """
    if (whole := concat_adjacent(tensors)) is not None:
        return whole
    first = tensors[0]
    size = sum(tensor.byte_size for tensor in tensors)
    room = None if allocator is None else allocator(size)
    if room is None:
        room = allocate_aligned(size)
    buffer = np.frombuffer(room, dtype=np.uint8)
    position = 0
    for tensor in tensors:
        end = position + tensor.byte_size
        if end > position:
            np.copyto(buffer[position:end], np.frombuffer(tensor.data, dtype=np.uint8))
        position = end
    rows = sum(tensor.shape[0] for tensor in tensors)
    return Tensor(first.name, first.datatype, (rows, *first.shape[1:]), room)


def split_rows(tensor: Tensor, rows: Sequence[int]) -> list[Tensor]:
    """Returns the tensor in pieces of so many rows each; views that keep its memory alive.

    Args:
        tensor: Of a datatype that has rows; its first dimension is the sum of `rows`.
        rows: Sizes of the pieces, in order.
    """
    if isinstance(tensor, DeviceTensor):
        return tensor.split_rows(rows)
    view = memoryview(tensor.data)
    row_bytes = tensor.byte_size // tensor.shape[0] if tensor.shape[0] else 0
    pieces: list[Tensor] = []
    start = 0
    for count in rows:
        end = start + count * row_bytes
        pieces.append(Tensor(tensor.name, tensor.datatype, (count, *tensor.shape[1:]), view[start:end]))
        start = end
    return pieces

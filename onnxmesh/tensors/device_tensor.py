"""Tensors that stay in the memory of the device that computed them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


class DeviceMemory:
    """What a device computed, where that is.

    Args:
        device: Whose memory it is, in ONNX Runtime's words: `cuda`.
        address: Where it begins there.
        fetch: Returns its bytes as the host sees them, copied if need be.
        owner: What the memory is there with: kept as long as this is.
    """

    def __init__(self, device: str, address: int, fetch: Callable[[], memoryview], owner: object) -> None:
        self.device = device
        self.address = address
        self._fetch = fetch
        self._owner = owner
        self._fetching = threading.Lock()

    @cached_property
    def _fetched(self) -> memoryview:
        return self._fetch()

    def on_host(self) -> memoryview:
        """Returns its bytes, format `B`. Blocks when first called, while they are copied; may be called in any thread."""
        with self._fetching:
            return self._fetched


class DeviceTensor(Tensor):
    """A tensor that whoever computes on the same device takes from its memory; all others see `data`, which is copied for them.

    Args:
        name: Name of the value in the model's graph.
        datatype: Element type, whose elements are whole bytes.
        shape: One non-negative figure for each dimension.
        memory: Where it is.
        offset: Where it begins there, in bytes.
    """

    __slots__ = ("memory", "offset")
    memory: DeviceMemory
    offset: int

    def __init__(
        self, name: str, datatype: Datatype, shape: tuple[int, ...], memory: DeviceMemory, offset: int = 0
    ) -> None:
        for attribute, value in zip(
            ("name", "datatype", "shape", "memory", "offset"),
            (name, datatype, shape, memory, offset),
            strict=True,
        ):
            object.__setattr__(self, attribute, value)

    @property
    def data(self) -> memoryview:
        """Its bytes on the host; blocks while they are copied there for the first time."""
        return self.memory.on_host()[self.offset : self.offset + self.byte_size]

    @property
    def byte_size(self) -> int:
        """Bytes that the elements take."""
        return self.num_elements * self.datatype.bits // 8

    @property
    def address(self) -> int:
        """Where it begins in the device's memory."""
        return self.memory.address + self.offset

    def renamed(self, name: str) -> DeviceTensor:
        """Returns the same tensor under another name."""
        return DeviceTensor(name, self.datatype, self.shape, self.memory, self.offset)

    def split_rows(self, rows: Sequence[int]) -> list[Tensor]:
        """Returns the tensor in pieces of so many rows each, where they are."""
        row_bytes = self.byte_size // self.shape[0] if self.shape[0] else 0
        pieces: list[Tensor] = []
        offset = self.offset
        for count in rows:
            pieces.append(
                DeviceTensor(self.name, self.datatype, (count, *self.shape[1:]), self.memory, offset)
            )
            offset += count * row_bytes
        return pieces


def concat_adjacent(tensors: Sequence[Tensor]) -> DeviceTensor | None:
    """Returns the rows of tensors that follow each other in one device's memory as one tensor; None where they do not.

    Args:
        tensors: One or more, equal but for their first dimension.
    """
    first = tensors[0]
    if not isinstance(first, DeviceTensor):
        return None
    end = first.offset
    for tensor in tensors:
        if not isinstance(tensor, DeviceTensor) or tensor.memory is not first.memory or tensor.offset != end:
            return None
        end += tensor.byte_size
    rows = sum(tensor.shape[0] for tensor in tensors)
    return DeviceTensor(first.name, first.datatype, (rows, *first.shape[1:]), first.memory, first.offset)

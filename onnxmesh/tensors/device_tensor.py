"""Tensors in the memory of the device that computed them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property

from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


class DeviceMemory:
    """A block of device memory, copied to the host at most once.

    Args:
        device: ONNX Runtime's name of the device: `cuda`.
        address: Address of the block on the device.
        fetch: Returns the bytes on the host, copied if necessary.
        owner: Object that owns the memory; referenced by this object.
    """

    def __init__(self, device: str, address: int, *, fetch: Callable[[], memoryview], owner: object) -> None:
        self.device = device
        self.address = address
        self._fetch = fetch
        self._owner = owner
        self._fetching = threading.Lock()

    @cached_property
    def _fetched(self) -> memoryview:
        return self._fetch()

    def on_host(self) -> memoryview:
        """Returns its bytes, format `B`. The first call blocks while they are copied. May be called in any thread."""
        with self._fetching:
            return self._fetched


class DeviceTensor(Tensor):
    """A tensor in device memory. Sessions on the same device read it in place; `data` is a copy on the host.

    Args:
        name: Name of the value in the model's graph.
        datatype: Element type, of whole bytes.
        shape: Non-negative dimensions.
        memory: The device memory that it is in.
        offset: Its start in that memory, in bytes.
    """

    __slots__ = ("memory", "offset")
    memory: DeviceMemory
    offset: int

    def __init__(
        self, name: str, datatype: Datatype, shape: tuple[int, ...], *, memory: DeviceMemory, offset: int = 0
    ) -> None:
        for attribute, value in zip(
            ("name", "datatype", "shape", "memory", "offset"),
            (name, datatype, shape, memory, offset),
            strict=True,
        ):
            object.__setattr__(self, attribute, value)

    @property
    def data(self) -> memoryview:
        """Its bytes on the host; the first access blocks while they are copied."""
        return self.memory.on_host()[self.offset : self.offset + self.byte_size]

    @property
    def byte_size(self) -> int:
        """Bytes of the elements."""
        return self.num_elements * self.datatype.bits // 8

    @property
    def address(self) -> int:
        """Its address on the device."""
        return self.memory.address + self.offset

    def renamed(self, name: str) -> DeviceTensor:
        """Returns the same tensor under another name."""
        return DeviceTensor(name, self.datatype, self.shape, memory=self.memory, offset=self.offset)

    def split_rows(self, rows: Sequence[int]) -> list[Tensor]:
        """Returns tensors with the given numbers of rows, in the same device memory."""
        row_bytes = self.byte_size // self.shape[0] if self.shape[0] else 0
        parts: list[Tensor] = []
        offset = self.offset
        for count in rows:
            parts.append(
                DeviceTensor(
                    self.name, self.datatype, (count, *self.shape[1:]), memory=self.memory, offset=offset
                )
            )
            offset += count * row_bytes
        return parts


def concat_adjacent(tensors: Sequence[Tensor]) -> DeviceTensor | None:
    """Returns one tensor of the rows of tensors that are adjacent in device memory; None where they are not.

    Args:
        tensors: At least one, with equal dimensions except the first.
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
    return DeviceTensor(
        first.name, first.datatype, (rows, *first.shape[1:]), memory=first.memory, offset=first.offset
    )

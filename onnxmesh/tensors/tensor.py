"""A tensor as it is sent: name, datatype, shape and raw bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.tensors.datatype import Datatype

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes; a memoryview has format `B`."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named tensor whose elements are raw bytes.

    Attributes:
        name: Name of the value in the model's graph.
        datatype: Element type.
        shape: Non-negative dimensions; empty for a scalar.
        data: Little-endian, row-major, packed. BYTES: each element after its length as 4 bytes. Often a view of
            a received message: read-only.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: Buffer

    @property
    def num_elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def byte_size(self) -> int:
        """Bytes of the elements on the wire."""
        return len(self.data)

    def renamed(self, name: str) -> Tensor:
        """Returns the same tensor under another name."""
        return Tensor(name, self.datatype, self.shape, self.data)

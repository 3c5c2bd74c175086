"""Memory for tensors that are yet to be computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from onnxmesh.tensors.tensor import Buffer

Allocate = Callable[[int], memoryview | None]
"""Returns writable memory of so many bytes, aligned for any kernel; None where none is free.

It stays allocated while a view of it exists. May be called in any thread.
"""

BUFFER_ALIGNMENT = 64
"""Alignment in bytes of a new buffer: enough for any kernel."""


def allocate_aligned(byte_size: int) -> memoryview:
    """Returns a writable buffer of so many bytes; pages that are never written take no memory.

    Raises:
        MemoryError: Too little memory or address space is left.
    """
    buffer = np.empty(byte_size + BUFFER_ALIGNMENT, dtype=np.uint8)
    start = -buffer.ctypes.data % BUFFER_ALIGNMENT
    return buffer[start : start + byte_size].data


class Staging(Protocol):
    """Host memory that a device reads and writes by DMA."""

    @property
    def allocate(self) -> Allocate:
        """Allocates buffers in it."""

    def copy_in(self, payload: Buffer) -> Buffer:
        """Returns a payload that is in it, copied if it was not; the payload itself where it does not fit. Blocks."""

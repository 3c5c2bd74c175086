"""Places for tensors that are yet to be computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from onnxmesh.tensors.tensor import Buffer

Allocate = Callable[[int], memoryview | None]
"""Returns a writable place of so many bytes, aligned for any kernel, or None where there is none.

It is taken for as long as a view of it is left. May be called in any thread.
"""

BUFFER_ALIGNMENT = 64
"""Bytes at whose multiple a fresh room starts: enough for any kernel."""


def allocate_aligned(byte_size: int) -> memoryview:
    """Returns a writable place of so many bytes, of which only what is written to takes memory.

    Raises:
        MemoryError: There is no such place.
    """
    buffer = np.empty(byte_size + BUFFER_ALIGNMENT, dtype=np.uint8)
    start = -buffer.ctypes.data % BUFFER_ALIGNMENT
    return buffer[start : start + byte_size].data


class Staging(Protocol):
    """Host memory that a device reads and writes by itself, without the processor's help."""

    @property
    def allocate(self) -> Allocate:
        """Finds room in it."""

    def copy_in(self, payload: Buffer) -> Buffer:
        """Returns a payload that is in it, a copy if it was not; the payload itself where there is no room. Blocks."""

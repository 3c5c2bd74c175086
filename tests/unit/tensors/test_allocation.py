"""Memory for tensors."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.tensors.allocation import BUFFER_ALIGNMENT, allocate_aligned


@pytest.mark.parametrize("byte_size", [0, 1, 63, 64, 1000, 1 << 20])
def test_allocate_aligned_returns_writable_aligned_bytes(byte_size):
    """Exactly as many as requested, whatever address NumPy gives."""
    for _ in range(8):
        buffer = allocate_aligned(byte_size)
        assert (buffer.nbytes, buffer.format, buffer.readonly) == (byte_size, "B", False)
        if byte_size:
            assert np.frombuffer(buffer, np.uint8).ctypes.data % BUFFER_ALIGNMENT == 0
            buffer[-1] = 7

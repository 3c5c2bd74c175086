"""Host memory for a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from structlog.testing import capture_logs

from onnxmesh.memory.pinned_memory import allocate_pinned
from tests.devices import DEVICES

SIZE = 1 << 20


@pytest.mark.parametrize(
    ("library", "says"),
    [("libnothing-of-the-kind.so", "cannot open shared object"), ("libc.so.6", "cudaHostRegister")],
)
def test_allocate_pinned_returns_none_without_cuda(library, says):
    """It is logged once, with the reason; its caller continues without pinned memory."""
    with capture_logs() as logs:
        assert allocate_pinned(SIZE, library) is None
    (line,) = logs
    assert (line["event"], line["bytes"]) == ("no_pinned_memory", SIZE)
    assert says in line["error"]


@pytest.mark.parametrize("device", DEVICES[1:])
def test_allocate_pinned_allocates_all_of_it_with_a_gpu(device):
    """Buffers of any size, writable and readable."""
    memory = allocate_pinned(SIZE)
    assert memory is not None
    assert memory.backed_bytes >= SIZE
    buffer = memory.allocate(SIZE // 2)
    np.frombuffer(buffer, np.uint8)[:] = 7
    assert bytes(buffer[-2:]) == b"\x07\x07"

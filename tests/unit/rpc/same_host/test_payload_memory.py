"""Shared memory of a process's links, under one limit."""

from __future__ import annotations

import contextlib

from onnxmesh.memory.shared_memory import MEMORY_BYTES
from onnxmesh.rpc.same_host.payload_memory import MEMORY_FRACTION, PayloadMemory


def test_payload_memory_uses_a_fraction_of_the_limit():
    """At most one block for each link, however much memory the process may use."""
    assert PayloadMemory(8 << 20).usable_bytes == (8 << 20) // MEMORY_FRACTION
    assert PayloadMemory(1 << 50).usable_bytes == MEMORY_BYTES


def test_payload_memory_limits_all_links_together():
    """What one link shares no other one can, until it is closed."""
    memory = PayloadMemory(MEMORY_FRACTION * 8192)
    memory.probe()
    with contextlib.closing(memory.allocate()) as one, contextlib.closing(memory.allocate()) as other:
        assert one.write(bytes(4096)) is not None
        assert other.write(bytes(8192)) is None
        assert other.write(bytes(4096)) is not None
    with contextlib.closing(memory.allocate()) as one:
        assert one.write(bytes(8192)) is not None

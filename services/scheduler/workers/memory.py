"""Memory of workers for stages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from onnxmesh.ids import WorkerId

MEMORY_BYTES = "memory.bytes"
"""The attribute with the bytes of memory that a worker may use."""

GPU_MEMORY_BYTES = "gpu.memory"
"""The attribute with the bytes of memory of its GPU."""

RESERVE_BYTES = 256 << 20
"""Bytes that a worker's process uses beside its stages."""

_UNLIMITED = 1 << 62


def stage_memory_bytes(attributes: Mapping[str, str]) -> int | None:
    """Returns the bytes that a worker has for stages; None: it does not report them."""
    size = attributes.get(GPU_MEMORY_BYTES if _on_gpu(attributes) else MEMORY_BYTES, "")
    return max(0, int(size) - RESERVE_BYTES) if size.isdecimal() else None


def memory_pool(worker: str, attributes: Mapping[str, str]) -> str:
    """Returns the name of the memory that a worker's stages are in: workers of one host share its memory, or its GPU's."""
    host = attributes.get("host", "")
    return f"{host}/{'gpu' if _on_gpu(attributes) else 'host'}" if host else f"worker/{worker}"


class MemoryBook:
    """Accounts for the memory of workers while stages are placed on them.

    Args:
        workers: Id and attributes of each; a worker is identified by its index among them.
    """

    def __init__(self, workers: Iterable[tuple[WorkerId, Mapping[str, str]]]) -> None:
        memory, pools = [], []
        numbers: dict[str, int] = {}
        for id_, attributes in workers:
            size = stage_memory_bytes(attributes)
            memory.append(_UNLIMITED if size is None else size)
            pools.append(numbers.setdefault(memory_pool(id_, attributes), len(numbers)))
        self._memory = np.array(memory, np.int64)
        self._pools = np.array(pools, np.intp)
        self._taken = np.zeros(len(numbers), np.int64)

    def take(self, worker: int, num_bytes: int) -> None:
        """Reserves memory of a worker for a stage."""
        self._taken[self._pools[worker]] += num_bytes

    def lacks(self, num_bytes: int) -> NDArray[np.int64]:
        """Returns the bytes that each worker is short of for a stage; 0: it has them, as far as is known."""
        lacks: NDArray[np.int64] = self._taken[self._pools] - self._memory + num_bytes
        return np.maximum(lacks, 0)


def _on_gpu(attributes: Mapping[str, str]) -> bool:
    return attributes.get("device", "cpu") != "cpu"

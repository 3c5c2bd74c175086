"""How much memory workers have for stages. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnxmesh.ids import WorkerId

MEMORY_BYTES = "memory.bytes"
"""The attribute that says how much memory a worker may use."""

GPU_MEMORY_BYTES = "gpu.memory"
"""The attribute that says how much memory its GPU has."""

RESERVE_BYTES = 256 << 20
"""What a worker's process takes beside its stages."""


def stage_memory_bytes(attributes: Mapping[str, str]) -> int | None:
    """Returns the memory that a worker has for stages, None where it does not say."""
    size = attributes.get(GPU_MEMORY_BYTES if _on_gpu(attributes) else MEMORY_BYTES, "")
    return max(0, int(size) - RESERVE_BYTES) if size.isdecimal() else None


def memory_pool(worker: str, attributes: Mapping[str, str]) -> str:
    """Names the memory that a worker's stages are in: workers of one host share its memory, or its GPU's."""
    host = attributes.get("host", "")
    return f"{host}/{'gpu' if _on_gpu(attributes) else 'host'}" if host else f"worker/{worker}"


class MemoryBook:
    """Keeps account of the memory of workers while stages are given to them.

    Args:
        workers: Their attributes, by id.
    """

    def __init__(self, workers: Mapping[WorkerId, Mapping[str, str]]) -> None:
        self._memory = {id_: stage_memory_bytes(attributes) for id_, attributes in workers.items()}
        self._pools = {id_: memory_pool(id_, attributes) for id_, attributes in workers.items()}
        self._taken: Counter[str] = Counter()

    def take(self, worker: WorkerId, num_bytes: int) -> None:
        """A stage takes memory of a worker."""
        self._taken[self._pools[worker]] += num_bytes

    def lack(self, worker: WorkerId, num_bytes: int) -> int:
        """Returns what a worker is short of for a stage; 0: it has room, as far as is known."""
        memory = self._memory[worker]
        return 0 if memory is None else max(0, self._taken[self._pools[worker]] + num_bytes - memory)


def _on_gpu(attributes: Mapping[str, str]) -> bool:
    return attributes.get("device", "cpu") != "cpu"

"""The shared memory of a process's links to peers of its host: one block each, all under one allowance."""

from __future__ import annotations

from onnxmesh.device.resources import available_memory_bytes
from onnxmesh.memory.backing import MemoryAllowance
from onnxmesh.memory.shared_memory import MEMORY_BYTES, OwnMemory

MEMORY_FRACTION = 4
"""The links together may use one in this many bytes of the process's memory limit."""

_MIN_BLOCK_BYTES = 1 << 20


class PayloadMemory:
    """Allocates the memory that this process shares with one peer each.

    Args:
        limit_bytes: Memory limit of this process; None: that of its container or machine.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        limit_bytes = available_memory_bytes() if limit_bytes is None else limit_bytes
        self._allowed_bytes = MEMORY_BYTES if limit_bytes is None else limit_bytes // MEMORY_FRACTION
        self._allowance = MemoryAllowance(self._allowed_bytes)
        self._block_bytes = MEMORY_BYTES

    @property
    def usable_bytes(self) -> int:
        """The most bytes of payloads that one link can share."""
        return min(self._block_bytes, self._allowed_bytes)

    def probe(self) -> None:
        """Makes blocks as small as this process's address space requires. Frees what it allocates.

        Raises:
            OSError: Not even the smallest block can be mapped.
        """
        while self._block_bytes > _MIN_BLOCK_BYTES:
            try:
                OwnMemory(self._block_bytes).close()
            except OSError:
                self._block_bytes = max(_MIN_BLOCK_BYTES, self._block_bytes // 4)
            else:
                return
        OwnMemory(_MIN_BLOCK_BYTES).close()

    def allocate(self) -> OwnMemory:
        """Returns memory for one link; the caller closes it.

        Raises:
            OSError: No descriptor or no address space is left.
        """
        return OwnMemory(self._block_bytes, self._allowance)

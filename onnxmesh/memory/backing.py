"""The kernel's memory behind a memory file, allocated and returned as it is used."""

from __future__ import annotations

import mmap
import os
import threading

_PAGE = mmap.PAGESIZE
_STEP_BYTES = 1 << 20


class MemoryAllowance:
    """The limit of all memory files of a process together. May be used in any thread.

    Args:
        byte_size: The limit.
    """

    def __init__(self, byte_size: int) -> None:
        self._free_bytes = byte_size
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Takes bytes from the allowance; False, with nothing taken, where fewer are free."""
        with self._lock:
            if num_bytes > self._free_bytes:
                return False
            self._free_bytes -= num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        """Returns bytes to the allowance."""
        with self._lock:
            self._free_bytes += num_bytes


class Backing:
    """The front part of a memory file, which the kernel has allocated. Not thread-safe.

    Attributes:
        end: Bytes that are allocated.

    Args:
        file: The file, mapped.
        descriptor: Of the same file.
        allowance: Limits the allocated bytes.
    """

    def __init__(self, file: mmap.mmap, descriptor: int, allowance: MemoryAllowance) -> None:
        self._file: mmap.mmap | None = file
        self._descriptor = descriptor
        self._allowance = allowance
        self.end = 0

    def grow(self, end: int) -> bool:
        """Allocates memory up to `end`; False where there is none: writing there would kill this process."""
        if self._file is None:
            return False
        more = min(_whole_pages(end), len(self._file)) - self.end
        if more <= 0:
            return True
        if not self._allowance.take(more):
            return False
        try:
            os.posix_fallocate(self._descriptor, self.end, more)
        except OSError:
            self._allowance.give_back(more)
            return False
        self.end += more
        return True

    def shrink(self, end: int) -> bool:
        """Returns a step of the unused memory beyond `end` to the kernel; False where there is none."""
        # The call holds the GIL.
        step = min(_STEP_BYTES, self.end - _whole_pages(end))
        if self._file is None or step <= 0:
            return False
        self._file.madvise(mmap.MADV_REMOVE, self.end - step, step)
        self._allowance.give_back(step)
        self.end -= step
        return True

    def close(self) -> None:
        """Releases the file and its allowance."""
        self._file = None
        self._allowance.give_back(self.end)
        self.end = 0


def _whole_pages(num_bytes: int) -> int:
    return -(-num_bytes // _PAGE) * _PAGE

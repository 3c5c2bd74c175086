"""Memory behind a memory file, which at first has none."""

from __future__ import annotations

import mmap
import os
import threading

_PAGE = mmap.PAGESIZE
_STEP_BYTES = 1 << 20


class MemoryAllowance:
    """How much memory the files of a process may have between them. May be used in any thread.

    Args:
        byte_size: So much.
    """

    def __init__(self, byte_size: int) -> None:
        self._left = byte_size
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Takes so many bytes; False, and nothing is taken, where fewer are left."""
        with self._lock:
            if num_bytes > self._left:
                return False
            self._left -= num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        """Takes bytes back."""
        with self._lock:
            self._left += num_bytes


class Backing:
    """The front part of a file, which has memory. Its owner sees to it that threads take turns.

    Args:
        file: The file, mapped.
        descriptor: Of the same file.
        allowance: What may be spent.
    """

    def __init__(self, file: mmap.mmap, descriptor: int, allowance: MemoryAllowance) -> None:
        self._file: mmap.mmap | None = file
        self._descriptor = descriptor
        self._allowance = allowance
        self.end = 0

    def grow(self, end: int) -> bool:
        """Has the kernel give memory up to `end`; False where there is none: to write there would end this process."""
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
        """Gives the kernel back a step of what lies beyond `end`, which nobody uses; False where nothing does."""
        # Python lets no other thread run during one.
        step = min(_STEP_BYTES, self.end - _whole_pages(end))
        if self._file is None or step <= 0:
            return False
        self._file.madvise(mmap.MADV_REMOVE, self.end - step, step)
        self._allowance.give_back(step)
        self.end -= step
        return True

    def close(self) -> None:
        """Lets the file go."""
        self._file = None
        self._allowance.give_back(self.end)
        self.end = 0


def _whole_pages(num_bytes: int) -> int:
    return -(-num_bytes // _PAGE) * _PAGE

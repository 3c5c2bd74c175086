"""Retention of freed memory in the heap of the C library."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 64 << 20
"""Most free memory at the top of the heap that is kept."""

LARGEST_BYTES = 32 << 20
"""Larger blocks are returned to the kernel at once; the maximum that the C library accepts here."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Configures the C library, where possible, to keep freed blocks and to share one heap between threads.

    By default the C library returns the memory of each message of a megabyte to the kernel and gets it back page by page,
    which takes a third of the processor time of such a message. And each thread has a heap of its own, whose free memory
    other threads cannot use: a worker's memory grew by a seventh within minutes.

    Threads that already run keep their heaps.

    Source: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_ARENA_MAX, 1)
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)

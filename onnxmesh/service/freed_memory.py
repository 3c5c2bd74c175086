"""What a process keeps of the memory that it has freed."""

from __future__ import annotations

import ctypes

KEPT_BYTES = 64 << 20
"""So much may stay unused."""

LARGEST_BYTES = 32 << 20
"""Larger blocks go back at once; it is the most that the C library takes here."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8


def keep_freed_memory() -> None:
    """Has the C library keep freed blocks for the next ones, whichever thread wants them, where it can be told so.

    Messages of a megabyte come and go. The C library gives their memory back to the kernel and gets it again, page by
    page: a third of the processor time that such a message costs. And each thread has a heap of its own, which keeps
    what others then ask the kernel for: a worker's memory crept up by a seventh within minutes.

    Threads that there are already keep their heaps.

    Source: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_ARENA_MAX, 1)
    mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, LARGEST_BYTES)

"""A first-fit allocator over one contiguous range of bytes."""

from __future__ import annotations

from bisect import bisect_left

EXTENT_ALIGNMENT = 64
"""Blocks start at multiples of a cache line."""


class Extents:
    """The free extents of a range. Allocates at the lowest offset that fits, so that little of it is ever touched.

    Args:
        byte_size: Length of the range.
    """

    def __init__(self, byte_size: int) -> None:
        self.byte_size = byte_size
        self._starts: list[int] = [0]
        self._ends: list[int] = [byte_size]
        self._allocated: dict[int, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of all allocated blocks."""
        return sum(self._allocated.values())

    @property
    def num_used(self) -> int:
        """Number of allocated blocks."""
        return len(self._allocated)

    @property
    def used_end(self) -> int:
        """End of the last allocated block; 0 without any."""
        return max((start + size for start, size in self._allocated.items()), default=0)

    def allocate(self, byte_size: int) -> int | None:
        """Returns the start of a new block of `byte_size` bytes; None where none fits."""
        wanted = max(EXTENT_ALIGNMENT, -(-byte_size // EXTENT_ALIGNMENT) * EXTENT_ALIGNMENT)
        for index, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= wanted:
                if end - start == wanted:
                    del self._starts[index], self._ends[index]
                else:
                    self._starts[index] = start + wanted
                self._allocated[start] = wanted
                return start
        return None

    def free(self, start: int) -> bool:
        """Frees the block that starts there; False if there is none."""
        size = self._allocated.pop(start, None)
        if size is None:
            return False
        end = start + size
        index = bisect_left(self._starts, start)
        joins_left = index > 0 and self._ends[index - 1] == start
        joins_right = index < len(self._starts) and self._starts[index] == end
        if joins_left and joins_right:
            self._ends[index - 1] = self._ends[index]
            del self._starts[index], self._ends[index]
        elif joins_left:
            self._ends[index - 1] = end
        elif joins_right:
            self._starts[index] = start
        else:
            self._starts.insert(index, start)
            self._ends.insert(index, end)
        return True

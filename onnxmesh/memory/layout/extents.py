"""Which parts of a stretch of memory are free. Pure."""

from __future__ import annotations

from bisect import bisect_left

EXTENT_ALIGNMENT = 64
"""Blocks begin at multiples of a cache line."""


class Extents:
    """Gives out blocks of a stretch, the lowest that fits first, so that little of it is ever touched.

    Args:
        byte_size: Length of the stretch.
    """

    def __init__(self, byte_size: int) -> None:
        self.byte_size = byte_size
        self._starts: list[int] = [0]
        self._ends: list[int] = [byte_size]
        self._taken: dict[int, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes in blocks that are out."""
        return sum(self._taken.values())

    @property
    def num_used(self) -> int:
        """Blocks that are out."""
        return len(self._taken)

    @property
    def used_end(self) -> int:
        """Where the last block that is out ends; 0 while none is."""
        return max((start + size for start, size in self._taken.items()), default=0)

    def allocate(self, byte_size: int) -> int | None:
        """Returns where a block of so many bytes begins, None where there is no room for it."""
        wanted = max(EXTENT_ALIGNMENT, -(-byte_size // EXTENT_ALIGNMENT) * EXTENT_ALIGNMENT)
        for index, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)):
            if end - start >= wanted:
                if end - start == wanted:
                    del self._starts[index], self._ends[index]
                else:
                    self._starts[index] = start + wanted
                self._taken[start] = wanted
                return start
        return None

    def free(self, start: int) -> bool:
        """Takes a block back; False if none that is out begins there."""
        size = self._taken.pop(start, None)
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

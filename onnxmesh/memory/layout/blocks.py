"""Blocks of memory that are written once and read by others. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from onnxmesh.memory.layout.extents import Extents


class Blocks:
    """Says which blocks of a stretch are in use: by who writes them, and for each payload in them that is out with a reader.

        a block:    [ payload | payload |  not told to anybody  )
                    ^ start   ^ offset of the second payload

    Args:
        byte_size: Length of the stretch.
    """

    def __init__(self, byte_size: int) -> None:
        self._extents = Extents(byte_size)
        self._starts: list[int] = []
        self._users: dict[int, int] = {}
        self._out: dict[int, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes in blocks that are in use."""
        return self._extents.used_bytes

    @property
    def used_end(self) -> int:
        """Where the last block that is in use ends; 0 while none is."""
        return self._extents.used_end

    def allocate(self, byte_size: int) -> int | None:
        """Returns where a block of so many bytes begins, which its writer then uses; None where there is no room for it."""
        start = self._extents.allocate(byte_size)
        if start is not None:
            insort(self._starts, start)
            self._users[start] = 1
        return start

    def release_writer(self, start: int) -> None:
        """Takes that the writer uses its block no more."""
        self._less(start)

    def add_reader(self, offset: int) -> None:
        """Takes that a reader is told of a payload, which is inside a block in use; maybe not for the first time."""
        self._out[offset] = self._out.get(offset, 0) + 1
        self._users[self._block_of(offset)] += 1

    def remove_reader(self, offset: int) -> bool:
        """Takes that a reader is done with a payload; False if none that is out begins there."""
        times = self._out.pop(offset, 0)
        if not times:
            return False
        if times > 1:
            self._out[offset] = times - 1
        self._less(self._block_of(offset))
        return True

    def _block_of(self, offset: int) -> int:
        return self._starts[bisect_right(self._starts, offset) - 1]

    def _less(self, start: int) -> None:
        self._users[start] -= 1
        if not self._users[start]:
            del self._users[start]
            del self._starts[bisect_left(self._starts, start)]
            self._extents.free(start)

"""Reference counts of blocks that one writer fills and several readers read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from onnxmesh.memory.layout.extents import Extents


class Blocks:
    """The blocks of a range that are in use: by their writer, or by readers of payloads in them.

        a block:    [ payload | payload |  not shared  )
                    ^ start   ^ offset of the second payload

    Args:
        byte_size: Length of the range.
    """

    def __init__(self, byte_size: int) -> None:
        self._extents = Extents(byte_size)
        self._starts: list[int] = []
        self._users: dict[int, int] = {}
        self._num_readers: dict[int, int] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of the blocks in use."""
        return self._extents.used_bytes

    @property
    def used_end(self) -> int:
        """End of the last block in use; 0 without any."""
        return self._extents.used_end

    def allocate(self, byte_size: int) -> int | None:
        """Returns the start of a new block, used by its writer; None where none fits."""
        start = self._extents.allocate(byte_size)
        if start is not None:
            insort(self._starts, start)
            self._users[start] = 1
        return start

    def release_writer(self, start: int) -> None:
        """Ends the use of a block by its writer."""
        self._release(start)

    def add_reader(self, offset: int) -> None:
        """Records one more reader of the payload at `offset`, which is inside a block in use."""
        self._num_readers[offset] = self._num_readers.get(offset, 0) + 1
        self._users[self._block_of(offset)] += 1

    def remove_reader(self, offset: int) -> bool:
        """Removes one reader of the payload at `offset`; False if there is none."""
        count = self._num_readers.pop(offset, 0)
        if not count:
            return False
        if count > 1:
            self._num_readers[offset] = count - 1
        self._release(self._block_of(offset))
        return True

    def _block_of(self, offset: int) -> int:
        return self._starts[bisect_right(self._starts, offset) - 1]

    def _release(self, start: int) -> None:
        self._users[start] -= 1
        if not self._users[start]:
            del self._users[start]
            del self._starts[bisect_left(self._starts, start)]
            self._extents.free(start)

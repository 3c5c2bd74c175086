"""Memory that two processes see: one writes payloads to it, the other reads them where they are.

It is a memory file that has no name: the kernel takes it back when the last of the two is gone, whatever ends them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import weakref
from collections.abc import Callable

import numpy as np

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames import Frame, SharedPayload
from onnxmesh.rpc.same_host.extents import Extents
from onnxmesh.tensors.tensor import Buffer

MEMORY_BYTES = 256 << 20
"""The most that one process has under way to another; only what was used at one time takes memory."""

MAX_REST_BYTES = 1 << 20
"""Where small payloads beside large ones are more than this together, they are shared too."""

_PAGE = mmap.PAGESIZE


class OwnMemory:
    """What this process writes payloads to.

    Args:
        byte_size: Its length.
    """

    def __init__(self, byte_size: int = MEMORY_BYTES) -> None:
        self.descriptor = os.memfd_create("onnxmesh", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, byte_size)
        # Reading what was cut off would end the reader.
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self._map = memoryview(mmap.mmap(self.descriptor, byte_size))
        self._extents = Extents(byte_size)
        self._backed = 0

    @property
    def taken_bytes(self) -> int:
        """Bytes of payloads that the other side has not released yet."""
        return self._extents.taken_bytes

    def put(self, payload: Buffer) -> SharedPayload | None:
        """Copies a payload in; None where there is no room, or no memory, for it."""
        size = len(payload)
        offset = self._extents.take(size)
        if offset is None:
            return None
        if not self._back(offset + size):
            self._extents.give_back(offset)
            return None
        self._map[offset : offset + size] = payload
        return SharedPayload(offset, size)

    def release(self, offset: int) -> None:
        """Takes that the other side reads a payload no more.

        Raises:
            CorruptData: No payload is there (DATA_LOSS).
        """
        if not self._extents.give_back(offset):
            raise CorruptData(f"expected the offset of a payload that is out, got {offset}")

    def close(self) -> None:
        """Gives the descriptor back; what is mapped goes with the last view of it."""
        os.close(self.descriptor)

    def _back(self, end: int) -> bool:
        """Has the kernel give memory up to `end`: without any, writing there would end this process."""
        if end <= self._backed:
            return True
        end = min(-(-end // _PAGE) * _PAGE, len(self._map))
        try:
            os.posix_fallocate(self.descriptor, self._backed, end - self._backed)
        except OSError:
            return False
        self._backed = end
        return True


class PeerMemory:
    """What the other process writes payloads to; read here and nothing else.

    Args:
        descriptor: Of the file; closed here.
        freed: Called, in any thread, with the offset of each payload of which no view is left.

    Raises:
        CorruptData: It cannot be mapped (DATA_LOSS).
    """

    def __init__(self, descriptor: int, freed: Callable[[int], None]) -> None:
        self._freed = freed
        try:
            if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise CorruptData("the peer's memory could shrink under its reader")
            self._size = os.fstat(descriptor).st_size
            self._map = mmap.mmap(descriptor, self._size, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise CorruptData(f"the peer's memory cannot be mapped: {error}") from error
        finally:
            os.close(descriptor)

    def view(self, payload: SharedPayload) -> memoryview:
        """Returns the bytes of a payload, where they are.

        Raises:
            CorruptData: It is not inside the memory (DATA_LOSS).
        """
        if payload.offset + payload.byte_size > self._size:
            raise CorruptData(
                f"{payload.byte_size} bytes announced at {payload.offset} of {self._size} shared bytes"
            )
        array = np.frombuffer(self._map, np.uint8, payload.byte_size, payload.offset)
        weakref.finalize(array, self._freed, payload.offset).atexit = False
        return memoryview(array)  # type: ignore[arg-type]


def placed(memory: OwnMemory, frame: Frame, least_bytes: int) -> Frame:
    """Returns a frame whose payloads of at least so many bytes are in shared memory; as it is where one has no room."""
    sizes = [len(payload) for payload in frame.payloads]
    if max(sizes, default=0) < least_bytes:
        return frame
    if sum(size for size in sizes if size < least_bytes) > MAX_REST_BYTES:
        least_bytes = 1
    shared: list[tuple[int, SharedPayload]] = []
    for index, payload in enumerate(frame.payloads):
        if len(payload) < least_bytes:
            continue
        put = memory.put(payload)
        if put is None:
            for _, each in shared:
                memory.release(each.offset)
            return frame
        shared.append((index, put))
    rest = tuple(payload for payload in frame.payloads if len(payload) < least_bytes)
    return Frame(frame.header, rest, tuple(shared))

"""Memory that two processes see: one writes payloads to it, the other reads them where they are.

It is a memory file that has no name: the kernel takes it back when the last of the two is gone, whatever ends them.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from onnxmesh.errors import CorruptData
from onnxmesh.memory.backing import Backing, MemoryAllowance
from onnxmesh.memory.layout.blocks import Blocks
from onnxmesh.memory.layout.shared_payload import PAYLOAD_ALIGNMENT, SharedPayload
from onnxmesh.tensors.tensor import Buffer

MEMORY_BYTES = 256 << 20
"""The most that one process has under way to another; only what was used lately takes memory."""


class OwnMemory:
    """What this process writes payloads to. Its methods may be called in any thread.

    Args:
        byte_size: Its length.
        allowance: What all such memory of this process may take together; None: as much as there is.

    Raises:
        OSError: This process may have no such file, or no address space for it.
    """

    def __init__(self, byte_size: int = MEMORY_BYTES, allowance: MemoryAllowance | None = None) -> None:
        self.descriptor = os.memfd_create("onnxmesh", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, byte_size)
            # Reading what was cut off would end the reader.
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            file = mmap.mmap(self.descriptor, byte_size)
        except BaseException:
            os.close(self.descriptor)
            raise
        self._bytes = np.frombuffer(file, np.uint8)
        self._address = self._bytes.ctypes.data
        self._blocks = Blocks(byte_size)
        self._backing = Backing(file, self.descriptor, allowance or MemoryAllowance(byte_size))
        self._needed_end = 0
        self._left: deque[int] = deque()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def used_bytes(self) -> int:
        """Bytes of payloads that the other side has not released yet, and of rooms that this one still sees."""
        with self._lock:
            self._sweep()
            return self._blocks.used_bytes

    @property
    def backed_bytes(self) -> int:
        """Bytes of memory that the kernel has given."""
        return self._backing.end

    def allocate(self, byte_size: int) -> memoryview | None:
        """Returns room for a payload, to be written to before it is handed out; None where there is none.

        It is taken while a view of it is left, and on from there for as long as it is handed out.
        """
        taken = self._take(byte_size)
        if taken is None:
            return None
        start, room = taken
        # Only noted, and not under a lock: it may come at any time, in any thread.
        weakref.finalize(room, self._left.append, start).atexit = False
        return memoryview(room)  # type: ignore[arg-type]

    def write(self, payload: Buffer) -> SharedPayload | None:
        """Copies a payload in and hands it out; None where there is no room, or no memory, for it."""
        taken = self._take(len(payload))
        if taken is None:
            return None
        start, block = taken
        # Unlike a memoryview it lets other threads run meanwhile.
        np.copyto(block, np.frombuffer(payload, np.uint8))
        with self._lock:
            self._blocks.add_reader(start)
            self._blocks.release_writer(start)
        return SharedPayload(start, len(payload))

    def contains(self, payload: Buffer) -> bool:
        """Whether a payload is in a room, from where it can be handed out."""
        return self._offset(payload) is not None

    def copy_in(self, payload: Buffer) -> Buffer:
        """Returns a payload in a room, a copy if it is not in one yet; the payload itself where there is no room."""
        if self.contains(payload):
            return payload
        room = self.allocate(len(payload))
        if room is None:
            return payload
        np.copyto(np.frombuffer(room, np.uint8), np.frombuffer(payload, np.uint8))
        return room.toreadonly()

    def share(self, payload: Buffer) -> SharedPayload | None:
        """Hands out a payload that is in a room, whole or a part of it; None where it is anywhere else."""
        offset = self._offset(payload)
        if offset is None:
            return None
        with self._lock:
            self._blocks.add_reader(offset)
        return SharedPayload(offset, len(payload))

    def release(self, offset: int) -> None:
        """Takes that the other side reads a payload no more.

        Raises:
            CorruptData: No payload is there (DATA_LOSS).
        """
        with self._lock:
            if not self._blocks.remove_reader(offset):
                raise CorruptData(f"expected the offset of a payload that is out, got {offset}")

    def trim(self) -> None:
        """Gives the kernel back what was not needed since this was last called. Takes a while: for a thread."""
        with self._lock:
            needed_end, self._needed_end = self._needed_end, self._blocks.used_end
        shrinking = True
        while shrinking:
            # In steps, for whoever waits for the lock.
            with self._lock:
                self._sweep()
                end = max(needed_end, self._blocks.used_end)
                shrinking = not self._closed and self._backing.shrink(end)

    def close(self) -> None:
        """Gives the descriptor back, and what is mapped with the last view of a room."""
        with self._lock:
            self._closed = True
            self._backing.close()
            self._bytes = np.empty(0, np.uint8)
            os.close(self.descriptor)

    def _take(self, byte_size: int) -> tuple[int, npt.NDArray[np.uint8]] | None:
        """Returns where a block is that is this writer's, and its bytes; None where there is no room, or no memory, for it."""
        with self._lock:
            self._sweep()
            start = None if self._closed else self._blocks.allocate(byte_size)
            if start is None:
                return None
            end = start + byte_size
            if not self._backing.grow(end):
                self._blocks.release_writer(start)
                return None
            self._needed_end = max(self._needed_end, end)
            return start, self._bytes[start:end]

    def _offset(self, payload: Buffer) -> int | None:
        """Returns where a payload is in this memory; None: elsewhere, or where its reader would have to copy it."""
        offset = np.frombuffer(payload, np.uint8).ctypes.data - self._address
        return offset if 0 <= offset < len(self._bytes) and offset % PAYLOAD_ALIGNMENT == 0 else None

    def _sweep(self) -> None:
        while self._left:
            self._blocks.release_writer(self._left.popleft())


class PeerMemory:
    """What the other process writes payloads to; read here and nothing else.

    Args:
        descriptor: Of the file; closed here.

    Raises:
        CorruptData: It cannot be mapped (DATA_LOSS).
    """

    def __init__(self, descriptor: int) -> None:
        try:
            if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
                raise CorruptData("the peer's memory could shrink under its reader")
            self._size = os.fstat(descriptor).st_size
            self._map: mmap.mmap | None = mmap.mmap(descriptor, self._size, prot=mmap.PROT_READ)
        except (OSError, ValueError) as error:
            raise CorruptData(f"the peer's memory cannot be mapped: {error}") from error
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Takes that nothing more will be read; what is mapped goes with the last view."""
        self._map = None

    def view(self, payload: SharedPayload, freed: Callable[[int], None]) -> memoryview:
        """Returns the bytes of a payload, where they are.

        Args:
            payload: What the peer told.
            freed: Called, in any thread, with its offset once no view of it is left.

        Raises:
            CorruptData: It is not inside the memory, or that is closed (DATA_LOSS).
        """
        if self._map is None:
            raise CorruptData("a payload is announced in memory that is shared no more")
        if payload.offset + payload.byte_size > self._size:
            raise CorruptData(
                f"{payload.byte_size} bytes announced at {payload.offset} of {self._size} shared bytes"
            )
        array = np.frombuffer(self._map, np.uint8, payload.byte_size, payload.offset)
        weakref.finalize(array, freed, payload.offset).atexit = False
        return memoryview(array)  # type: ignore[arg-type]

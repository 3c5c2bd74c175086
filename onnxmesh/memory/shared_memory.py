"""Memory shared by two processes: one writes payloads to it, the other reads them in place.

It is an anonymous memory file: the kernel frees it when both processes have closed it or ended.
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
"""The most bytes of payloads that one process shares with another; only what was used lately takes memory."""


class OwnMemory:
    """The memory that this process writes payloads to. Its methods may be called in any thread.

        allocate ──▶ written through the view ──▶ share ──▶ read by the peer ──▶ release
                 write (a copy, and share) ──────────────▶

    Args:
        byte_size: Its length.
        allowance: Limit of all such memory of this process together; None: none.

    Raises:
        OSError: This process may open no such file, or has no address space for it.
    """

    def __init__(self, byte_size: int = MEMORY_BYTES, allowance: MemoryAllowance | None = None) -> None:
        self.descriptor = os.memfd_create("onnxmesh", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, byte_size)
            # A peer that read beyond a shortened file would be killed.
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            file = mmap.mmap(self.descriptor, byte_size)
        except BaseException:
            os.close(self.descriptor)
            raise
        self._bytes = np.frombuffer(file, np.uint8)
        self._address = self._bytes.ctypes.data
        self._blocks = Blocks(byte_size)
        self._backing = Backing(file, self.descriptor, allowance or MemoryAllowance(byte_size))
        self._used_end = 0
        self._unreferenced: deque[int] = deque()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def used_bytes(self) -> int:
        """Bytes of blocks that this side still has a view of, or that the peer has not released."""
        with self._lock:
            self._free_unreferenced()
            return self._blocks.used_bytes

    @property
    def backed_bytes(self) -> int:
        """Bytes that the kernel has allocated for the file."""
        return self._backing.end

    def allocate(self, byte_size: int) -> memoryview | None:
        """Returns writable memory for a payload; None where none is free.

        It stays allocated while a view of it exists and while it is shared.
        """
        allocated = self._allocate_block(byte_size)
        if allocated is None:
            return None
        start, block = allocated
        # Only recorded, without a lock: a finalizer may run at any time, in any thread.
        weakref.finalize(block, self._unreferenced.append, start).atexit = False
        return memoryview(block)  # type: ignore[arg-type]

    def write(self, payload: Buffer) -> SharedPayload | None:
        """Copies a payload to the memory and shares it; None where it does not fit."""
        allocated = self._allocate_block(len(payload))
        if allocated is None:
            return None
        start, block = allocated
        # Unlike assignment to a memoryview this releases the GIL.
        np.copyto(block, np.frombuffer(payload, np.uint8))
        with self._lock:
            self._blocks.add_reader(start)
            self._blocks.release_writer(start)
        return SharedPayload(start, len(payload))

    def contains(self, payload: Buffer) -> bool:
        """Whether a payload is in this memory, so that it can be shared without a copy."""
        return self._offset(payload) is not None

    def copy_in(self, payload: Buffer) -> Buffer:
        """Returns a payload that is in this memory, copied if it was not; the payload itself where it does not fit."""
        if self.contains(payload):
            return payload
        buffer = self.allocate(len(payload))
        if buffer is None:
            return payload
        np.copyto(np.frombuffer(buffer, np.uint8), np.frombuffer(payload, np.uint8))
        return buffer.toreadonly()

    def share(self, payload: Buffer) -> SharedPayload | None:
        """Shares a payload that is in this memory, all or a part of a block; None where it is not in it."""
        offset = self._offset(payload)
        if offset is None:
            return None
        with self._lock:
            self._blocks.add_reader(offset)
        return SharedPayload(offset, len(payload))

    def release(self, offset: int) -> None:
        """Frees a shared payload that the peer no longer reads.

        Raises:
            CorruptData: No payload is shared at that offset (DATA_LOSS).
        """
        with self._lock:
            if not self._blocks.remove_reader(offset):
                raise CorruptData(f"expected the offset of a shared payload, got {offset}")

    def trim(self) -> None:
        """Returns memory to the kernel that was not used since the last call. Takes milliseconds: for a thread."""
        with self._lock:
            recent_end, self._used_end = self._used_end, self._blocks.used_end
        shrinking = True
        while shrinking:
            # In steps, between which other threads get the lock.
            with self._lock:
                self._free_unreferenced()
                end = max(recent_end, self._blocks.used_end)
                shrinking = not self._closed and self._backing.shrink(end)

    def close(self) -> None:
        """Closes the descriptor; the mapping ends with the last view."""
        with self._lock:
            self._closed = True
            self._backing.close()
            self._bytes = np.empty(0, np.uint8)
            os.close(self.descriptor)

    def _allocate_block(self, byte_size: int) -> tuple[int, npt.NDArray[np.uint8]] | None:
        """Returns offset and bytes of a new block; None where none is free or the kernel has no memory."""
        with self._lock:
            self._free_unreferenced()
            start = None if self._closed else self._blocks.allocate(byte_size)
            if start is None:
                return None
            end = start + byte_size
            if not self._backing.grow(end):
                self._blocks.release_writer(start)
                return None
            self._used_end = max(self._used_end, end)
            return start, self._bytes[start:end]

    def _offset(self, payload: Buffer) -> int | None:
        """Returns the offset of a payload in this memory; None: elsewhere, or not aligned for its reader."""
        offset = np.frombuffer(payload, np.uint8).ctypes.data - self._address
        return offset if 0 <= offset < len(self._bytes) and offset % PAYLOAD_ALIGNMENT == 0 else None

    def _free_unreferenced(self) -> None:
        while self._unreferenced:
            self._blocks.release_writer(self._unreferenced.popleft())


class PeerMemory:
    """The memory that the peer writes payloads to, mapped read-only.

    Args:
        descriptor: Of the memory file; closed here.

    Raises:
        CorruptData: It cannot be mapped, or could shrink (DATA_LOSS).
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
        """Ends reading; the mapping ends with the last view."""
        self._map = None

    def view(self, payload: SharedPayload, freed: Callable[[int], None]) -> memoryview:
        """Returns a view of a payload.

        Args:
            payload: As announced by the peer.
            freed: Called in any thread, with the offset, once no view of it exists.

        Raises:
            CorruptData: The payload is outside the memory, or that is closed (DATA_LOSS).
        """
        if self._map is None:
            raise CorruptData("a payload is announced in memory that is closed")
        if payload.offset + payload.byte_size > self._size:
            raise CorruptData(
                f"{payload.byte_size} bytes announced at {payload.offset} of {self._size} shared bytes"
            )
        array = np.frombuffer(self._map, np.uint8, payload.byte_size, payload.offset)
        weakref.finalize(array, freed, payload.offset).atexit = False
        return memoryview(array)  # type: ignore[arg-type]

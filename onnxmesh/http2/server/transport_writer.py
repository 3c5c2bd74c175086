"""Frames of one connection, joined to few writes to its transport."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.link.write_coalescer import WriteCoalescer

_JOINED_BYTES = 64 << 10  # below this, one copy costs less than a write of several buffers


class TransportWriter:
    """Writes frames to a transport: whole responses by `WriteCoalescer`, other frames at the end of the event-loop iteration.

    Args:
        loop: Event loop of the connection.
    """

    __slots__ = ("_added_bytes", "_coalescer", "_is_scheduled", "_loop", "_parts", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes | memoryview] = []
        self._added_bytes = 0
        self._is_scheduled = False
        self._coalescer = WriteCoalescer(loop)

    def open(self, transport: asyncio.Transport) -> None:
        """Sets the transport, and writes what was added before."""
        self._transport = transport
        self.flush()

    def close(self) -> None:
        """Removes what was not flushed; nothing is written any more."""
        self._transport = None
        self._parts.clear()

    def write(self, part: bytes | memoryview) -> None:
        """Adds whole frames, or the next part of one."""
        self._parts.append(part)
        self._added_bytes += len(part)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.flush)

    def write_response(self, parts: tuple[bytes, bytes, bytes], num_bytes: int) -> None:
        """Adds all frames of a response: written at once where responses come one by one, else with others of this iteration."""
        self._parts += parts
        self._added_bytes += num_bytes
        self._coalescer.schedule(self.flush)

    def flush(self) -> None:
        """Writes everything that was added."""
        self._is_scheduled = False
        if self._transport is None or not self._parts:
            return
        parts, self._parts = self._parts, []
        if self._added_bytes < _JOINED_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        self._added_bytes = 0

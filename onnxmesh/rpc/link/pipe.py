"""The port between a link and its transport: a stream of messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.allocation import Allocate


class Pipe(Protocol):
    """One end of a bidirectional stream of messages, with shared memory for payloads where the transport has it."""

    @property
    def same_host(self) -> bool:
        """Whether the peer is on this host, where bytes cost next to nothing."""

    @property
    def write_now(self) -> Callable[[bytes], None] | None:
        """Writes one message without waiting; call it only while `has_capacity`.

        None: a message is so expensive that waiting for more frames pays; use `write`.
        """

    @property
    def has_capacity(self) -> bool:
        """Whether flow control lets `write_now` write."""

    async def receive(self, on_message: Callable[[bytes], bool]) -> None:
        """Calls `on_message` with each received message until that returns True or the stream ends.

        `on_message` must not block; an exception that it raises ends the stream.
        """

    async def write(self, message: bytes) -> None:
        """Writes one message; waits for flow control."""

    @property
    def allocate(self) -> Allocate | None:
        """Allocates memory that the peer reads in place, so that sharing a payload needs no copy; None: not shared."""

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Copies large payloads to shared memory, in a thread where that takes long."""

    def share_payloads(self, frame: Frame) -> Frame:
        """Replaces large payloads by references to shared memory, where there is any; those are not written."""

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has shared."""

    def release(self, offsets: Iterable[int]) -> None:
        """Frees shared payloads that the peer has read."""

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Sets the callback for offsets of the peer's payloads that no view in this process refers to any more."""

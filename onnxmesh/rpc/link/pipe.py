"""What carries the messages of a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.allocation import Allocate


class Pipe(Protocol):
    """One end of a stream of messages, dialled or accepted."""

    @property
    def same_host(self) -> bool:
        """Whether the peer is on this host, and bytes cost next to nothing."""

    @property
    def write_now(self) -> Callable[[bytes], None] | None:
        """Sends one message where there is room.

        None: a message costs so much that it is better to wait for others to go with it.
        """

    @property
    def has_capacity(self) -> bool:
        """Whether `write_now` would not have to wait."""

    async def receive(self, take: Callable[[bytes], bool]) -> None:
        """Hands each message that comes to `take`, until that says that it was the last, or the stream ends.

        What `take` raises ends it, too. It must not block.
        """

    async def write(self, message: bytes) -> None:
        """Sends one message; waits for flow control."""

    @property
    def allocate(self) -> Allocate | None:
        """Finds room where the peer sees what is written, so that placing it costs nothing; None: there is no such place."""

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Copies payloads to where the peer sees them, if that takes so long that it is better done aside."""

    def share_payloads(self, frame: Frame) -> Frame:
        """Puts payloads where the peer sees them, where there is such a place; they are then not sent."""

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has share_payloads."""

    def release(self, offsets: Iterable[int]) -> None:
        """Takes that the peer has read what was share_payloads."""

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Has `callback` called with what the peer has share_payloads and nobody here reads any more."""

"""What carries the messages of a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from onnxmesh.rpc.frames import Frame, SharedPayload


class Pipe(Protocol):
    """One end of a stream of messages, dialled or accepted."""

    @property
    def same_host(self) -> bool:
        """Whether the peer is on this host, and bytes cost next to nothing."""

    @property
    def gathers(self) -> bool:
        """Whether a message costs so much that waiting for more frames to go with it may pay."""

    async def read(self) -> bytes | None:
        """Returns the next message; None where the stream has ended."""

    async def write(self, message: bytes) -> None:
        """Sends one message; waits for flow control."""

    def place(self, frame: Frame) -> Frame:
        """Puts payloads where the peer sees them, where there is such a place; they are then not sent."""

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has placed."""

    def release(self, offsets: Iterable[int]) -> None:
        """Takes that the peer has read what was placed."""

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Has `callback` called with what the peer has placed and nobody here reads any more."""

"""What carries the messages of a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from onnxmesh.rpc.frames import Frame, SharedPayload
from onnxmesh.tensors.room import FindRoom


class Pipe(Protocol):
    """One end of a stream of messages, dialled or accepted."""

    @property
    def gathers(self) -> bool:
        """Whether a message costs so much that waiting for more frames to go with it may pay."""

    async def read(self) -> bytes | None:
        """Returns the next message; None where the stream has ended."""

    async def write(self, message: bytes) -> None:
        """Sends one message; waits for flow control."""

    @property
    def reserve(self) -> FindRoom | None:
        """Finds room where the peer sees what is written, so that placing it costs nothing; None: there is no such place."""

    async def bring(self, frame: Frame) -> Frame:
        """Copies payloads to where the peer sees them, if that takes so long that it is better done aside."""

    def place(self, frame: Frame) -> Frame:
        """Puts payloads where the peer sees them, where there is such a place; they are then not sent."""

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Returns a payload that the peer has placed."""

    def release(self, offsets: Iterable[int]) -> None:
        """Takes that the peer has read what was placed."""

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:
        """Has `callback` called with what the peer has placed and nobody here reads any more."""

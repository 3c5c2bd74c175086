"""The two ends of a gRPC bidirectional stream of bytes."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import grpc
import grpc.aio

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.memory.layout.shared_payload import SharedPayload
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.allocation import Allocate


class GrpcPipe(ABC):
    """A gRPC stream: what is sent on it is all that the peer sees. See `Pipe` for what the methods do."""

    same_host = False
    has_capacity = False
    write_now: Callable[[bytes], None] | None = None
    allocate: Allocate | None = None

    async def receive(self, take: Callable[[bytes], bool]) -> None:
        """Reads, one message after another."""
        while (message := await self._read()) is not None:
            if take(message):
                return
            # Nothing here may keep the last message until the next one comes.
            del message

    @abstractmethod
    async def write(self, message: bytes) -> None:
        """Sends one message; waits for flow control: gRPC tells of room only to those who wait."""

    @abstractmethod
    async def _read(self) -> bytes | None:
        """Returns the next message, None after the last."""

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Leaves the frame as it is."""
        return frame

    def share_payloads(self, frame: Frame) -> Frame:
        """Leaves the frame as it is: there is no memory to put it in."""
        return frame

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Refuses: nothing can be in shared memory.

        Raises:
            CorruptData: Always (DATA_LOSS).
        """
        raise CorruptData("this stream shares no memory")

    def release(self, offsets: Iterable[int]) -> None:
        """Refuses: nothing was share_payloads.

        Raises:
            CorruptData: Always (DATA_LOSS).
        """
        raise CorruptData("this stream shares no memory")

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:  # noqa: B027 - for both ends alike
        """Nothing is ever share_payloads."""


class DialledPipe(GrpcPipe):
    """The caller's end of a stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def _read(self) -> bytes | None:
        message = await self._call.read()
        if message is grpc.aio.EOF:
            # Raises what ended the call, if that was an error.
            if not await self._call.code() == grpc.StatusCode.OK:
                raise Unavailable(f"{await self._call.code()}: {await self._call.details()}")
            return None
        return bytes(message)

    async def write(self, message: bytes) -> None:
        """Sends one message.

        Raises:
            Unavailable: The stream is over (UNAVAILABLE).
        """
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError as error:
            # How gRPC says that the call ended, where nobody has read its end yet.
            raise Unavailable(str(error)) from error


class AcceptedPipe(GrpcPipe):
    """The callee's end of a stream."""

    def __init__(self, context: Any) -> None:
        self._context = context

    async def _read(self) -> bytes | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else bytes(message)

    async def write(self, message: bytes) -> None:
        """Sends one message."""
        await self._context.write(message)

"""The two ends of a bidirectional gRPC stream, as pipes."""

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
    """What both ends have in common: no shared memory. See `Pipe` for the methods."""

    same_host = False
    has_capacity = False
    write_now: Callable[[bytes], None] | None = None
    allocate: Allocate | None = None

    async def receive(self, on_message: Callable[[bytes], bool]) -> None:
        """Reads one message after another."""
        while (message := await self._read()) is not None:
            if on_message(message):
                return
            # A reference would keep the last message alive until the next one is received.
            del message

    @abstractmethod
    async def write(self, message: bytes) -> None:
        """Writes one message; waits for flow control, which gRPC reports in no other way."""

    @abstractmethod
    async def _read(self) -> bytes | None:
        """Returns the next message, None after the last."""

    async def copy_payloads_in(self, frame: Frame) -> Frame:
        """Returns the frame unchanged."""
        return frame

    def share_payloads(self, frame: Frame) -> Frame:
        """Returns the frame unchanged."""
        return frame

    def resolve(self, payload: SharedPayload) -> memoryview:
        """Rejects a reference to shared memory.

        Raises:
            CorruptData: Always (DATA_LOSS).
        """
        raise CorruptData("this stream shares no memory")

    def release(self, offsets: Iterable[int]) -> None:
        """Rejects a release of shared memory.

        Raises:
            CorruptData: Always (DATA_LOSS).
        """
        raise CorruptData("this stream shares no memory")

    def on_freed(self, callback: Callable[[list[int]], None]) -> None:  # noqa: B027 - for both ends alike
        """Ignores the callback: the peer never shares payloads."""


class DialledPipe(GrpcPipe):
    """The client's end of a stream.

    Args:
        call: A `grpc.aio.StreamStreamCall` of bytes.
    """

    def __init__(self, call: Any) -> None:
        self._call = call

    async def _read(self) -> bytes | None:
        message = await self._call.read()
        if message is grpc.aio.EOF:
            # An error that ended the call is raised here.
            if not await self._call.code() == grpc.StatusCode.OK:
                raise Unavailable(f"{await self._call.code()}: {await self._call.details()}")
            return None
        return bytes(message)

    async def write(self, message: bytes) -> None:
        """Writes one message.

        Raises:
            Unavailable: The stream has ended (UNAVAILABLE).
        """
        try:
            await self._call.write(message)
        except asyncio.InvalidStateError as error:
            # Raised by gRPC where the call has ended and its status has not been read yet.
            raise Unavailable(str(error)) from error


class AcceptedPipe(GrpcPipe):
    """The server's end of a stream.

    Args:
        context: The `grpc.aio.ServicerContext` of a stream of bytes.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    async def _read(self) -> bytes | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else bytes(message)

    async def write(self, message: bytes) -> None:
        """Writes one message."""
        await self._context.write(message)

"""One call at the edge, as its handler sees it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import grpc

from onnxmesh.errors import MeshError
from onnxmesh.http2.protocol.compressed_messages import Compressed
from onnxmesh.http2.protocol.header_blocks import answer_headers
from onnxmesh.http2.protocol.limits import EdgeLimits
from onnxmesh.http2.protocol.messages import MessageReader
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.tensors.tensor import Buffer

if TYPE_CHECKING:
    from onnxmesh.http2.server.calls import Calls


class CallContext(Protocol):
    """What a handler may ask of its call, here and at gRPC's own server."""

    def invocation_metadata(self) -> Metadata | None:
        """Returns what the client added to the call."""

    def time_remaining(self) -> float | None:
        """Returns the seconds left, 0 at the least; None: the client gave none."""


class Call(SendStream):
    """One call. Belongs to the calls of its connection.

    Attributes:
        head: What the client said at the beginning.
        ends_at_s: When it must be over, on the monotonic clock; infinity: never.
        is_half_closed: Whether the client has sent everything.
        inflow: What the client may send of it.
        task: Its handler, until that is done.
        is_running: Whether the handler has begun.
        reader: Puts its messages together; None: no piece has come.
        message: The one message of a unary call.
    """

    __slots__ = (
        "_arrived",
        "_calls",
        "_held_bytes",
        "_messages",
        "ends_at_s",
        "head",
        "inflow",
        "is_half_closed",
        "is_running",
        "message",
        "reader",
        "task",
    )

    def __init__(
        self, calls: Calls, stream: int, window: int, head: RequestHead, inflow: ReceiveWindow
    ) -> None:
        super().__init__(stream, window)
        self._calls = calls
        self.head = head
        self.ends_at_s = math.inf if head.timeout_s is None else monotonic() + head.timeout_s
        self.is_half_closed = False
        self.is_running = False
        self.inflow = inflow
        self.task: asyncio.Task[None] | None = None
        self.reader: MessageReader | None = None
        self.message: Buffer | Compressed | None = None
        self._messages: deque[Buffer | Compressed] | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._held_bytes = 0

    @property
    def peer(self) -> str:
        """Who calls: address and port."""
        return self._calls.peer

    def invocation_metadata(self) -> Metadata:
        """Returns what the client added to the call."""
        return self.head.metadata

    def time_remaining(self) -> float | None:
        """Returns the seconds left, 0 at the least; None: the client gave none."""
        return None if self.head.timeout_s is None else max(0.0, self.ends_at_s - monotonic())

    async def receive(self) -> bytes | None:
        """Returns the next message; None: the client has sent everything, or what cannot be read, which ends the call.

        The client may send as much again as was taken.
        """
        while not self._messages:
            if self.is_half_closed:
                return None
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        message = self._messages.popleft()
        if not self._messages:
            self._give_back()
        if not isinstance(message, Compressed):
            return bytes(message)
        try:
            return await self._calls.inflater.plain(message)
        except MeshError as error:
            self._calls.fail(self, error)
            return None

    def begin(self, metadata: Metadata = ()) -> None:
        """Sends headers, with metadata, unless that was done."""
        self._calls.begin(self, answer_headers(metadata))

    async def send(self, message: bytes) -> None:
        """Sends a message; returns once the client took it."""
        self.begin()
        self._calls.send(self, message)
        await self.drained()

    def end(self, code: grpc.StatusCode, message: str = "", metadata: Metadata = ()) -> None:
        """Ends the call once all messages were sent; what comes after it does nothing."""
        self._calls.end(self, code, message, metadata)

    def arrive(self, messages: list[Buffer | Compressed], num_bytes: int) -> None:
        """Takes what the connection received of a call whose handler takes messages one by one."""
        if self._messages is None:
            self._messages = deque()
        self._messages += messages
        self._held_bytes += num_bytes
        if not self._messages:
            self._give_back()
        self.wake()

    def wake(self) -> None:
        """There may be something to receive."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    @property
    def held_bytes(self) -> int:
        """Bytes that arrived and that nobody has taken."""
        return self._held_bytes

    def _give_back(self) -> None:
        taken, self._held_bytes = self._held_bytes, 0
        self._calls.taken(self, taken)


UnaryHandler = Callable[[Buffer, Call], Awaitable[bytes]]
"""Answers a message with a message; raises `MeshError` where it cannot."""

StreamHandler = Callable[[Call], Awaitable[None]]
"""Receives, sends and ends."""


@dataclass(frozen=True, slots=True)
class Service:
    """What connections serve.

    Attributes:
        handlers: By path, of calls with one message each way.
        others: Handles every other call.
        inflater: Uncompresses what clients send.
        limits: Of each connection.
    """

    handlers: Mapping[str, UnaryHandler]
    others: StreamHandler
    inflater: Decompressor
    limits: EdgeLimits

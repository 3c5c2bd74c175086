"""One call of a client, as its handler sees it."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections import deque
from collections.abc import Coroutine
from time import monotonic
from typing import Any, Protocol, cast

import grpc

from onnxmesh.errors import MeshError
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage
from onnxmesh.http2.protocol.header_blocks import response_headers
from onnxmesh.http2.protocol.messages import MessageReader
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import OPEN, StreamState
from onnxmesh.tensors.tensor import Buffer


class CallContext(Protocol):
    """What a handler needs of its call, here and at gRPC's own server."""

    def invocation_metadata(self) -> Metadata | None:
        """Returns the metadata of the request."""

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline, 0 at the least; None: there is no deadline."""


class CallPort(Protocol):
    """What a call needs of its connection.

    Attributes:
        peer: Address and port of the client.
    """

    peer: str

    def send_headers(self, call: Call, block: bytes) -> None:
        """Sends the headers of a response, unless they were sent."""

    def send_message(self, call: Call, message: bytes) -> None:
        """Sends one of several messages."""

    def end(self, call: Call, status: int, message: str, metadata: Metadata = ()) -> None:
        """Ends a call after its messages."""

    def fail(self, call: Call, error: MeshError) -> None:
        """Ends a call whose request cannot be read, and cancels its handler."""

    def consume(self, call: Call, num_bytes: int) -> None:
        """Gives received bytes back to the flow control windows."""

    async def decompress(self, message: CompressedMessage) -> bytes:
        """Returns the decompressed message; raises `MeshError` if it is malformed."""


class Call(SendStream):
    """One call: its request as it is received, its handler, and the response that it sends.

    Attributes:
        head: Head of the request.
        deadline_s: Deadline on the monotonic clock; infinity: none.
        receive_window: Flow control window of the request.
        task: The handler until it is done; None: not started, or done.
        reader: Assembles the request's messages; None: no DATA was received.
        message: The one request message of a unary call.
    """

    __slots__ = (
        "_arrival",
        "_drained",
        "_messages",
        "_port",
        "_unconsumed_bytes",
        "deadline_s",
        "head",
        "message",
        "reader",
        "receive_window",
        "task",
    )

    def __init__(
        self,
        port: CallPort,
        stream_id: int,
        head: RequestHead,
        *,
        state: StreamState,
        send_window: int,
        receive_window: ReceiveWindow,
    ) -> None:
        super().__init__(stream_id, send_window, state)
        self._port = port
        self.head = head
        self.deadline_s = math.inf if head.timeout_s is None else monotonic() + head.timeout_s
        self.receive_window = receive_window
        self.task: asyncio.Task[None] | None = None
        self.reader: MessageReader | None = None
        self.message: Buffer | CompressedMessage | None = None
        self._messages: deque[Buffer | CompressedMessage] | None = None
        self._arrival: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._unconsumed_bytes = 0

    @property
    def peer(self) -> str:
        """Address and port of the client."""
        return self._port.peer

    def invocation_metadata(self) -> Metadata:
        """Returns the metadata of the request."""
        return self.head.metadata

    def time_remaining(self) -> float | None:
        """Returns the seconds until the deadline, 0 at the least; None: there is no deadline."""
        return None if self.head.timeout_s is None else max(0.0, self.deadline_s - monotonic())

    async def receive(self) -> bytes | None:
        """Returns the next message; None: the request has ended, or is malformed, which ends the call.

        The flow control window is given back when no message waits any more.
        """
        while not self._messages:
            if self.state is not OPEN:
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        message = self._messages.popleft()
        if not self._messages:
            self._consume()
        if not isinstance(message, CompressedMessage):
            return bytes(message)
        try:
            return await self._port.decompress(message)
        except MeshError as error:
            self._port.fail(self, error)
            return None

    def send_initial_metadata(self, metadata: Metadata = ()) -> None:
        """Sends the headers of the response, with metadata, unless they were sent."""
        self._port.send_headers(self, response_headers(metadata))

    async def send(self, message: bytes) -> None:
        """Sends a message; returns once the windows have allowed all of it."""
        self.send_initial_metadata()
        self._port.send_message(self, message)
        if self.queued_bytes:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained

    def end(self, code: grpc.StatusCode, message: str = "", metadata: Metadata = ()) -> None:
        """Ends the call after its messages; has no effect on a call that has ended."""
        status: int = code.value[0]
        self._port.end(self, status, message, metadata)

    def add_messages(self, messages: list[Buffer | CompressedMessage], num_bytes: int) -> None:
        """Queues request messages of a call whose handler receives them one by one.

        Args:
            messages: Those that ended in this DATA; there may be none.
            num_bytes: What the DATA took of the flow control windows.
        """
        if self._messages is None:
            self._messages = deque()
        self._messages += messages
        self._unconsumed_bytes += num_bytes
        if not self._messages:
            self._consume()
        self.wake()

    def wake(self) -> None:
        """Wakes a handler that waits in `receive`."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def on_drained(self) -> None:
        """Wakes a handler that waits in `send`."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def cancel_handler(self) -> None:
        """Cancels the handler, if it is not done."""
        if self.task is not None:
            self.task.cancel()
            # The coroutine of a task that is cancelled before its first step never runs, not even its `finally`.
            if (
                inspect.getcoroutinestate(cast(Coroutine[Any, Any, None], self.task.get_coro()))
                == inspect.CORO_CREATED
            ):
                self.task = None

    @property
    def unconsumed_bytes(self) -> int:
        """Received bytes of messages that the handler has not taken."""
        return self._unconsumed_bytes

    def _consume(self) -> None:
        num_bytes, self._unconsumed_bytes = self._unconsumed_bytes, 0
        self._port.consume(self, num_bytes)

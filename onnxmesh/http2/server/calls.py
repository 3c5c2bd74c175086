"""Calls of one connection, from their headers to their trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import grpc
import structlog

from onnxmesh.errors import Internal, MeshError
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.compressed_messages import ENCODINGS, CompressedMessage
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, GrpcStatus, StreamFault
from onnxmesh.http2.protocol.frames import (
    DEFAULT_WINDOW_BYTES,
    MAX_WINDOW_BYTES,
    WINDOW_UPDATE,
    FrameType,
    Payload,
    frame,
    uint32,
)
from onnxmesh.http2.protocol.header_blocks import RESPONSE_HEADERS, http_error_headers, trailers
from onnxmesh.http2.protocol.messages import MessageReader
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.http2.protocol.send_queue import FrameOutput, SendQueue
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import (
    AFTER_RECEIVE_END_STREAM,
    CLOSED,
    HALF_CLOSED_LOCAL,
    HALF_CLOSED_REMOTE,
    IDLE,
    LOSE_CONNECTION,
    OPEN,
    RECEIVE_HEADERS,
    RECEIVE_RST_STREAM,
    SEND_RST_STREAM,
    TRANSITIONS,
    StreamEvent,
)
from onnxmesh.http2.server.call import Call
from onnxmesh.http2.server.deadlines import Deadlines
from onnxmesh.http2.server.service import Service
from onnxmesh.rpc.grpc.status import to_status
from onnxmesh.telemetry.masking import masked
from onnxmesh.tensors.tensor import Buffer

_ENCODINGS = frozenset(ENCODINGS.split(", "))
_OPENED = TRANSITIONS[RECEIVE_HEADERS][IDLE]
_OPENED_AND_ENDED = AFTER_RECEIVE_END_STREAM[_OPENED]

_log = structlog.get_logger(__name__)


class Calls:
    """Calls of one connection: flow control and messages of requests, handlers, responses. Belongs to one event loop.

    Receives the events of streams from a `Session`, and is the port of each `Call`.

    Args:
        service: Handlers and limits.
        output: Control frames of streams are written to it.
        send_queue: Responses are sent by it.
        abuse_guard: Counts resets, and the progress of calls.
        on_removed: Is called after each call that was removed.

    Attributes:
        peer: Address and port of the client.
    """

    def __init__(
        self,
        service: Service,
        output: FrameOutput,
        send_queue: SendQueue,
        *,
        abuse_guard: AbuseGuard,
        on_removed: Callable[[], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._limits = service.limits
        self._output = output
        self._send_queue = send_queue
        self._abuse_guard = abuse_guard
        self._on_removed = on_removed
        self._calls: dict[int, Call] = {}
        self._receive_window = ReceiveWindow(service.limits.connection_window_bytes)
        self._initial_window = DEFAULT_WINDOW_BYTES
        self._deadlines = Deadlines(self._loop, self._calls, self._expire)
        self.peer = ""

    def __len__(self) -> int:
        return len(self._calls)

    # Events of streams.

    def request_received(self, stream_id: int, head: RequestHead, *, end_stream: bool) -> None:
        """Begins a call.

        Raises:
            StreamFault: There are too many calls (REFUSED_STREAM).
            ConnectionFault: Too many calls were refused or reset.
        """
        if len(self._calls) >= self._limits.max_calls:
            self._abuse_guard.count_reset(monotonic())
            raise StreamFault(ErrorCode.REFUSED_STREAM, f"expected {self._limits.max_calls} calls at most")
        self._abuse_guard.record_progress()
        call = self._calls[stream_id] = Call(
            self,
            stream_id,
            head,
            state=_OPENED_AND_ENDED if end_stream else _OPENED,
            send_window=self._initial_window,
            receive_window=ReceiveWindow(self._limits.stream_window_bytes),
        )
        if call.deadline_s < self._deadlines.next_s:
            self._deadlines.watch(call.deadline_s)
        if head.http_status != 200:
            self._send_queue.send_trailers_only(call, http_error_headers(head.http_status))
        elif head.refusal is not None:
            self.end(call, *head.refusal)
        elif head.encoding not in _ENCODINGS:
            self.end(
                call,
                GrpcStatus.UNIMPLEMENTED,
                f"expected a grpc-encoding out of {ENCODINGS}, got '{head.encoding}'",
                (("grpc-accept-encoding", ENCODINGS),),
            )
        elif head.path not in self._service.handlers:
            call.task = self._loop.create_task(self._run_fallback(call))
        if end_stream and call.state is not CLOSED:
            self._request_complete(call)

    def data_received(self, stream_id: int, payload: Payload, num_bytes: int, *, end_stream: bool) -> bool:
        """Handles DATA of a call, which takes `num_bytes` of the windows; returns False if the stream is not open.

        Raises:
            StreamFault: The request had ended, or its window is exceeded.
            ConnectionFault: The window of the connection is exceeded.
        """
        if not self._receive_window.receive(num_bytes):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window of the connection")
        call = self._calls.get(stream_id)
        if call is None or call.state is CLOSED:
            self._consume_connection(num_bytes)
            return False
        if call.state is HALF_CLOSED_REMOTE:
            self._consume_connection(num_bytes)
            raise StreamFault(ErrorCode.STREAM_CLOSED, "data after the end")
        if not call.receive_window.receive(num_bytes):
            self._consume_connection(num_bytes)
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window of the stream")
        if end_stream:
            call.state = AFTER_RECEIVE_END_STREAM[call.state]
        if payload:
            self._abuse_guard.record_progress()
            self._receive_payload(call, payload, num_bytes)
        else:
            self._abuse_guard.count_idle_frame()
            self.consume(call, num_bytes)
        if end_stream and call.state is not CLOSED:
            self._request_complete(call)
        return True

    def trailers_received(self, stream_id: int) -> None:
        """Ends a request.

        Raises:
            StreamFault: It had ended before.
        """
        call = self._calls.get(stream_id)
        if call is None or call.state is CLOSED:
            return
        if call.state is HALF_CLOSED_REMOTE:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "trailers after the end")
        call.state = AFTER_RECEIVE_END_STREAM[call.state]
        self._request_complete(call)

    def reset_received(self, stream_id: int) -> None:
        """Cancels a call.

        Raises:
            ConnectionFault: Too many calls were refused or reset.
        """
        call = self._calls.get(stream_id)
        if call is not None and call.state is not CLOSED:
            self._abuse_guard.count_reset(monotonic())
            self._drop(call, RECEIVE_RST_STREAM)

    def window_update_received(self, stream_id: int, increment: int) -> None:
        """Increments the send window of a call.

        Raises:
            StreamFault: The increment is 0, or the window becomes larger than HTTP/2 allows.
        """
        call = self._calls.get(stream_id)
        if call is None or call.state is CLOSED:
            return
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        call.window += increment
        if call.window > MAX_WINDOW_BYTES:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
        self._send_queue.stream_window_changed(call)

    def initial_window_received(self, window: int) -> None:
        """Sets the send window of new calls, and changes that of open ones by the difference.

        Raises:
            ConnectionFault: A window becomes larger than HTTP/2 allows.
        """
        difference = window - self._initial_window
        self._initial_window = window
        for call in tuple(self._calls.values()) if difference else ():
            call.window += difference
            if call.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
            self._send_queue.stream_window_changed(call)

    def stream_failed(self, stream_id: int, fault: StreamFault) -> None:
        """Ends a stream with RST_STREAM after an error of the client."""
        _log.debug("stream_refused", peer=self.peer, code=fault.code.name, error=fault.message)
        self._write_reset(stream_id, fault.code)
        call = self._calls.get(stream_id)
        if call is not None:
            self._drop(call, SEND_RST_STREAM)

    # Events of the connection.

    def abort(self, message: str) -> None:
        """Ends every call at once, as UNAVAILABLE."""
        for call in tuple(self._calls.values()):
            self._cut_short(call, grpc.StatusCode.UNAVAILABLE.value[0], message)

    def connection_lost(self) -> None:
        """Cancels every call: the connection is closed."""
        self._deadlines.close()
        for call in tuple(self._calls.values()):
            self._drop(call, LOSE_CONNECTION)

    def stream_ended(self, stream: SendStream) -> None:
        """Handles that END_STREAM of a response was sent."""
        call = self._calls[stream.stream_id]
        if call.state is HALF_CLOSED_LOCAL:
            # The client need not send the rest of its request.
            self._write_reset(call.stream_id, ErrorCode.NO_ERROR)
            call.state = TRANSITIONS[SEND_RST_STREAM][call.state]
        self._remove_if_done(call)

    # Port of the calls.

    def send_headers(self, call: Call, block: bytes) -> None:
        """Sends the headers of a response, unless they were sent."""
        if call.state is not CLOSED:
            self._send_queue.send_headers(call, block)

    def send_message(self, call: Call, message: bytes) -> None:
        """Sends one of several messages."""
        if call.state is not CLOSED:
            self._send_queue.send_message(call, message)

    def end(self, call: Call, status: int, message: str, metadata: Metadata = ()) -> None:
        """Ends a call after its messages; has no effect on a call that has ended."""
        if call.state is CLOSED or call.trailers is not None:
            return
        block = trailers(status, message, metadata)
        if call.has_sent_headers:
            self._send_queue.send_trailers(call, block)
        else:
            self._send_queue.send_trailers_only(call, RESPONSE_HEADERS + block)

    def fail(self, call: Call, error: MeshError) -> None:
        """Ends a call whose request cannot be read, and cancels its handler."""
        self._cut_short(call, *_status(error, call))

    def consume(self, call: Call, num_bytes: int) -> None:
        """Gives received bytes back to the windows of the connection and of a call."""
        self._consume_connection(num_bytes)
        if call.state is OPEN:
            increment = call.receive_window.consume(num_bytes)
            if increment:
                self._output.write(frame(WINDOW_UPDATE, 0, call.stream_id, uint32(increment)))

    async def decompress(self, message: CompressedMessage) -> bytes:
        """Returns the decompressed message; raises `MeshError` if it is malformed."""
        return await self._service.decompressor.decompress(message)

    # From request to response.

    def _receive_payload(self, call: Call, payload: Payload, num_bytes: int) -> None:
        if call.reader is None:
            call.reader = MessageReader(call.head.encoding, self._limits.max_message_bytes)
        try:
            messages = call.reader.feed(payload)
            if call.task is not None:
                call.add_messages(messages, num_bytes)
                return
            for message in messages:
                if call.message is not None:
                    raise Internal("expected one message, got two")
                call.message = message
        except MeshError as error:
            self._consume_connection(num_bytes)
            self.fail(call, error)
            return
        self.consume(call, num_bytes)

    def _request_complete(self, call: Call) -> None:
        if call.reader is not None and not call.reader.is_at_boundary:
            self._cut_short(call, GrpcStatus.INTERNAL, "the call ends amid a message")
        elif call.task is not None:
            call.wake()
        elif call.message is None:
            self._cut_short(call, GrpcStatus.INTERNAL, "expected one message, got none")
        else:
            message, call.message = call.message, None
            call.task = self._loop.create_task(self._run_unary(call, message))

    async def _run_unary(self, call: Call, message: Buffer | CompressedMessage) -> None:
        try:
            if isinstance(message, CompressedMessage):
                message = await self.decompress(message)
            response = await self._service.handlers[call.head.path](message, call)
            if call.state is not CLOSED:
                self._send_queue.send_response(call, response)
        except Exception as error:  # noqa: BLE001 - the boundary of the process: nothing may leave unmasked
            self.end(call, *_status(error, call))
        finally:
            self._handler_done(call)

    async def _run_fallback(self, call: Call) -> None:
        try:
            await self._service.fallback(call)
        except Exception as error:  # noqa: BLE001 - the boundary of the process: nothing may leave unmasked
            self.end(call, *_status(error, call))
        finally:
            self._handler_done(call)

    def _handler_done(self, call: Call) -> None:
        """Ends a call whose handler did not: it was cancelled, or has a defect."""
        call.task = None
        if call.state is not CLOSED:
            self.end(call, grpc.StatusCode.CANCELLED.value[0], "the call was cancelled")
        if call.state is CLOSED:
            self._remove_if_done(call)

    # The end of a call.

    def _cut_short(self, call: Call, status: int, message: str, metadata: Metadata = ()) -> None:
        """Ends a call at once: its handler is cancelled, and messages that wait for a window are not sent."""
        if call.state is not CLOSED:
            call.cancel_handler()
            self._send_queue.discard(call)
            self.end(call, status, message, metadata)

    def _drop(self, call: Call, event: StreamEvent) -> None:
        """Closes a call without a response."""
        call.cancel_handler()
        call.state = TRANSITIONS[event][call.state]
        self._send_queue.discard(call)
        self._remove_if_done(call)

    def _remove_if_done(self, call: Call) -> None:
        """Removes a closed call, unless its handler has yet to end."""
        if call.task is None and self._calls.pop(call.stream_id, None) is not None:
            self._consume_connection(call.unconsumed_bytes)
            self._on_removed()

    def _expire(self, call: Call) -> None:
        self._cut_short(
            call,
            grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
            "the deadline passed before the answer was there",
        )

    def _consume_connection(self, num_bytes: int) -> None:
        increment = self._receive_window.consume(num_bytes)
        if increment:
            self._output.write(frame(WINDOW_UPDATE, 0, 0, uint32(increment)))

    def _write_reset(self, stream_id: int, code: ErrorCode) -> None:
        self._output.write(frame(FrameType.RST_STREAM, 0, stream_id, uint32(code)))


def _status(error: Exception, call: Call) -> tuple[int, str, Metadata]:
    status = to_status(masked(error, method=call.head.path))
    return status.code.value[0], status.details, tuple(status.trailing_metadata or ())

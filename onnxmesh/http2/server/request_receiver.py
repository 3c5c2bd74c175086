"""Requests of one connection as they are received: heads, data, resets, windows."""

from __future__ import annotations

import asyncio
from time import monotonic

import structlog

from onnxmesh.errors import Internal, MeshError
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.compressed_messages import ENCODINGS
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, GrpcStatus, StreamFault
from onnxmesh.http2.protocol.frames import DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, Payload
from onnxmesh.http2.protocol.messages import MessageReader
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.send_queue import SendQueue
from onnxmesh.http2.protocol.stream_state import (
    AFTER_RECEIVE_END_STREAM,
    CLOSED,
    HALF_CLOSED_REMOTE,
    IDLE,
    RECEIVE_HEADERS,
    RECEIVE_RST_STREAM,
    SEND_RST_STREAM,
    TRANSITIONS,
)
from onnxmesh.http2.server.call import Call
from onnxmesh.http2.server.calls import Calls
from onnxmesh.http2.server.service import Service

_ENCODINGS = frozenset(ENCODINGS.split(", "))
_OPENED = TRANSITIONS[RECEIVE_HEADERS][IDLE]
_OPENED_AND_ENDED = AFTER_RECEIVE_END_STREAM[_OPENED]

_log = structlog.get_logger(__name__)


class RequestReceiver:
    """Receives the events of streams from a `ConnectionState`: opens calls, assembles their messages, and starts their handlers.

    Args:
        service: Handlers and limits.
        calls: Calls of the connection.
        send_queue: Is notified of changed windows of streams.
        abuse_guard: Counts resets, and the progress of calls.
    """

    def __init__(
        self, service: Service, calls: Calls, send_queue: SendQueue, *, abuse_guard: AbuseGuard
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._handlers = service.handlers
        self._limits = service.limits
        self._calls = calls
        self._by_id = calls.by_id
        self._receive_window = calls.receive_window
        self._send_queue = send_queue
        self._abuse_guard = abuse_guard
        self._initial_window = DEFAULT_WINDOW_BYTES

    def request_received(self, stream_id: int, head: RequestHead, *, end_stream: bool) -> None:
        """Begins a call.

        Raises:
            StreamFault: There are too many calls (REFUSED_STREAM).
            ConnectionFault: Too many calls were refused or reset.
        """
        if len(self._by_id) >= self._limits.max_calls:
            self._abuse_guard.count_reset(monotonic())
            raise StreamFault(ErrorCode.REFUSED_STREAM, f"expected {self._limits.max_calls} calls at most")
        self._abuse_guard.record_progress()
        state = _OPENED_AND_ENDED if end_stream else _OPENED
        call = self._calls.add(stream_id, head, state, self._initial_window)
        if head.http_status != 200:
            self._calls.end_with_http_status(call)
        elif head.refusal is not None:
            self._calls.end(call, *head.refusal)
        elif head.encoding not in _ENCODINGS:
            self._calls.end(
                call,
                GrpcStatus.UNIMPLEMENTED,
                f"expected a grpc-encoding out of {ENCODINGS}, got '{head.encoding}'",
            )
        elif head.path not in self._handlers:
            call.task = self._loop.create_task(self._calls.run_fallback(call))
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
        call = self._by_id.get(stream_id)
        if call is None or call.state is CLOSED:
            self._calls.consume_connection(num_bytes)
            return False
        if call.state is HALF_CLOSED_REMOTE:
            self._calls.consume_connection(num_bytes)
            raise StreamFault(ErrorCode.STREAM_CLOSED, "data after the end")
        if not call.receive_window.receive(num_bytes):
            self._calls.consume_connection(num_bytes)
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window of the stream")
        if end_stream:
            call.state = AFTER_RECEIVE_END_STREAM[call.state]
        if payload:
            self._abuse_guard.record_progress()
            self._receive_payload(call, payload, num_bytes)
        else:
            self._abuse_guard.count_idle_frame()
            self._calls.consume(call, num_bytes)
        if end_stream and call.state is not CLOSED:
            self._request_complete(call)
        return True

    def trailers_received(self, stream_id: int) -> None:
        """Ends a request.

        Raises:
            StreamFault: It had ended before.
        """
        call = self._by_id.get(stream_id)
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
        call = self._by_id.get(stream_id)
        if call is not None and call.state is not CLOSED:
            self._abuse_guard.count_reset(monotonic())
            self._calls.drop(call, RECEIVE_RST_STREAM)

    def window_update_received(self, stream_id: int, increment: int) -> None:
        """Increments the send window of a call.

        Raises:
            StreamFault: The increment is 0, or the window becomes larger than HTTP/2 allows.
        """
        call = self._by_id.get(stream_id)
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
        for call in tuple(self._by_id.values()) if difference else ():
            call.window += difference
            if call.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
            self._send_queue.stream_window_changed(call)

    def stream_failed(self, stream_id: int, fault: StreamFault) -> None:
        """Ends a stream with RST_STREAM after an error of the client."""
        _log.debug("stream_refused", peer=self._calls.peer, code=fault.code.name, error=fault.message)
        self._calls.write_reset(stream_id, fault.code)
        call = self._by_id.get(stream_id)
        if call is not None:
            self._calls.drop(call, SEND_RST_STREAM)

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
            self._calls.consume_connection(num_bytes)
            self._calls.fail(call, error)
            return
        self._calls.consume(call, num_bytes)

    def _request_complete(self, call: Call) -> None:
        if call.reader is not None and not call.reader.is_at_boundary:
            self._calls.cut_short(call, GrpcStatus.INTERNAL, "the call ends amid a message")
        elif call.task is not None:
            call.wake()
        elif call.message is None:
            self._calls.cut_short(call, GrpcStatus.INTERNAL, "expected one message, got none")
        else:
            message, call.message = call.message, None
            call.task = self._loop.create_task(self._calls.run_unary(call, message))

"""Running calls of one connection: handlers, responses, and how calls end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from onnxmesh.errors import MeshError
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage
from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.frames import WINDOW_UPDATE, FrameType, frame, uint32
from onnxmesh.http2.protocol.header_blocks import RESPONSE_HEADERS, http_error_headers, trailers
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.http2.protocol.send_queue import FrameOutput, SendQueue
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import (
    CLOSED,
    HALF_CLOSED_LOCAL,
    LOSE_CONNECTION,
    OPEN,
    SEND_RST_STREAM,
    TRANSITIONS,
    StreamEvent,
    StreamState,
)
from onnxmesh.http2.server.call import Call
from onnxmesh.http2.server.deadlines import Deadlines
from onnxmesh.http2.server.plain_answers import http2_sentence
from onnxmesh.http2.server.service import ADDRESS, Service
from onnxmesh.masking import masked
from onnxmesh.rpc.grpc.status import to_status
from onnxmesh.tensors.tensor import Buffer


class Calls:
    """Calls of one connection and the port of each: runs handlers, sends responses, ends calls. Belongs to one event loop.

    Args:
        service: Handlers and limits.
        output: Control frames of streams are written to it.
        send_queue: Responses are sent by it.
        on_removed: Is called after each call that was removed.

    Attributes:
        by_id: Calls by stream identifier, until their stream is closed and their handler has ended.
        receive_window: Flow control window of the connection.
        peer: Address and port of the client.
        spoken: A sentence for clients that do not speak gRPC: what is spoken, and where.
    """

    def __init__(
        self,
        service: Service,
        output: FrameOutput,
        send_queue: SendQueue,
        *,
        on_removed: Callable[[], object],
    ) -> None:
        self._service = service
        self._limits = service.limits
        self._output = output
        self._send_queue = send_queue
        self._on_removed = on_removed
        self.by_id: dict[int, Call] = {}
        self.receive_window = ReceiveWindow(service.limits.connection_window_bytes)
        self._deadlines = Deadlines(asyncio.get_running_loop(), self.by_id, self._expire)
        self.peer = ""
        self.spoken = service.spoken

    def set_address(self, address: str) -> None:
        """Sets the address and port that the client has connected to."""
        self.spoken = self._service.spoken.replace(ADDRESS, address)

    def add(self, stream_id: int, head: RequestHead, state: StreamState, send_window: int) -> Call:
        """Adds the call of a stream that was opened, and watches its deadline."""
        call = self.by_id[stream_id] = Call(
            self,
            stream_id,
            head,
            state=state,
            send_window=send_window,
            receive_window=ReceiveWindow(self._limits.stream_window_bytes),
        )
        if call.deadline_s < self._deadlines.next_s:
            self._deadlines.watch(call.deadline_s)
        return call

    def abort(self, message: str) -> None:
        """Ends every call at once, as UNAVAILABLE."""
        for call in tuple(self.by_id.values()):
            self.cut_short(call, grpc.StatusCode.UNAVAILABLE.value[0], message)

    def connection_lost(self) -> None:
        """Cancels every call: the connection is closed."""
        self._deadlines.close()
        for call in tuple(self.by_id.values()):
            self.drop(call, LOSE_CONNECTION)

    # Handlers.

    async def run_unary(self, call: Call, message: Buffer | CompressedMessage) -> None:
        """Runs the handler of a unary call, and sends its response; must be the call's task."""
        try:
            if isinstance(message, CompressedMessage):
                message = await self.decompress(message)
            response = await self._service.handlers[call.head.path](message, call)
            compressed = None
            if len(response) >= self._service.min_gzip_bytes and call.head.accepts_gzip:
                compressed = await self._service.decompressor.compress(response)
            if call.state is CLOSED:
                return
            if compressed is not None:
                self._send_queue.send_gzip_response(call, compressed)
            else:
                self._send_queue.send_response(call, response)
        except Exception as error:  # noqa: BLE001 - the boundary of the process: nothing may leave unmasked
            self.end(call, *_status(error, call))
        finally:
            self._handler_done(call)

    async def run_fallback(self, call: Call) -> None:
        """Runs the fallback handler; must be the call's task."""
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
        self.cut_short(call, *_status(error, call))

    def consume(self, call: Call, num_bytes: int) -> None:
        """Gives received bytes back to the windows of the connection and of a call."""
        self.consume_connection(num_bytes)
        if call.state is OPEN:
            increment = call.receive_window.consume(num_bytes)
            if increment:
                self._output.write(frame(WINDOW_UPDATE, 0, call.stream_id, uint32(increment)))

    def consume_connection(self, num_bytes: int) -> None:
        """Gives received bytes back to the window of the connection alone."""
        increment = self.receive_window.consume(num_bytes)
        if increment:
            self._output.write(frame(WINDOW_UPDATE, 0, 0, uint32(increment)))

    async def decompress(self, message: CompressedMessage) -> bytes:
        """Returns the decompressed message; raises `MeshError` if it is malformed."""
        return await self._service.decompressor.decompress(message)

    # The end of a call.

    def end_with_http_status(self, call: Call) -> None:
        """Ends a call that is not gRPC."""
        status = call.head.http_status
        body = http2_sentence(status, self.spoken, self._limits) if call.head.takes_body else b""
        self._send_queue.send_http_response(call, http_error_headers(status), body)

    def stream_ended(self, stream: SendStream) -> None:
        """Handles that END_STREAM of a response was sent."""
        call = self.by_id[stream.stream_id]
        if call.state is HALF_CLOSED_LOCAL:
            # The client need not send the rest of its request.
            self.write_reset(call.stream_id, ErrorCode.NO_ERROR)
            call.state = TRANSITIONS[SEND_RST_STREAM][call.state]
        self._remove_if_done(call)

    def cut_short(self, call: Call, status: int, message: str, metadata: Metadata = ()) -> None:
        """Ends a call at once: its handler is cancelled, and messages that wait for a window are not sent."""
        if call.state is not CLOSED:
            call.cancel_handler()
            self._send_queue.discard(call)
            self.end(call, status, message, metadata)

    def drop(self, call: Call, event: StreamEvent) -> None:
        """Closes a call without a response, after RST_STREAM in either direction or the loss of the connection."""
        call.cancel_handler()
        call.state = TRANSITIONS[event][call.state]
        self._send_queue.discard(call)
        self._remove_if_done(call)

    def write_reset(self, stream_id: int, code: ErrorCode) -> None:
        """Writes RST_STREAM."""
        self._output.write(frame(FrameType.RST_STREAM, 0, stream_id, uint32(code)))

    def _remove_if_done(self, call: Call) -> None:
        """Removes a closed call, unless its handler has yet to end."""
        if call.task is None and self.by_id.pop(call.stream_id, None) is not None:
            self.consume_connection(call.unconsumed_bytes)
            self._on_removed()

    def _expire(self, call: Call) -> None:
        self.cut_short(
            call,
            grpc.StatusCode.DEADLINE_EXCEEDED.value[0],
            "the deadline passed before the answer was there",
        )


def _status(error: Exception, call: Call) -> tuple[int, str, Metadata]:
    status = to_status(masked(error, method=call.head.path))
    return status.code.value[0], status.details, tuple(status.trailing_metadata or ())

"""The calls of one connection, from their headers to their trailers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

import grpc

from onnxmesh.errors import Internal, MeshError
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.compressed_messages import ENCODINGS, Compressed
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, StreamFault
from onnxmesh.http2.protocol.frames import MAX_WINDOW_BYTES, FrameType, Payload, frame, word
from onnxmesh.http2.protocol.header_blocks import ANSWER_HEADERS, http_refusal, trailers
from onnxmesh.http2.protocol.messages import MessageReader
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.server.call import Call, Service
from onnxmesh.http2.server.deadlines import Deadlines
from onnxmesh.http2.server.send_queue import SendQueue
from onnxmesh.rpc.grpc.status import to_status
from onnxmesh.telemetry.masking import masked
from onnxmesh.tensors.tensor import Buffer

_ENCODINGS = frozenset(ENCODINGS.split(", "))


class Calls:
    """The calls of one connection. Belongs to one event loop.

    Args:
        service: Its handlers answer.
        outbox: Takes what they answer.
        patience: Counts what is asked for nothing.
        left: Is called after each call.

    Attributes:
        peer: Who calls.
        last_stream: The newest stream.
        initial_window: Bytes that the client takes of a new stream.
        inflater: Uncompresses messages.
    """

    def __init__(
        self, service: Service, outbox: SendQueue, patience: AbuseGuard, left: Callable[[], object]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._limits = service.limits
        self.inflater = service.inflater
        self._outbox = outbox
        self._patience = patience
        self._left = left
        self._calls: dict[int, Call] = {}
        self._inflow = ReceiveWindow(service.limits.connection_window_bytes)
        self._deadlines = Deadlines(self._loop, self._calls, self._expire)
        self.peer = ""
        self.last_stream = 0
        self.initial_window = 0

    def __len__(self) -> int:
        return len(self._calls)

    # What the client does.

    def open(self, stream: int, head: RequestHead, *, is_whole: bool) -> None:
        """Begins a call; `is_whole` if nothing follows its headers.

        Raises:
            StreamFault: There are too many.
        """
        if len(self._calls) >= self._limits.max_calls:
            self._patience.reset(monotonic())
            raise StreamFault(ErrorCode.REFUSED_STREAM, f"expected {self._limits.max_calls} calls at most")
        self._patience.progress()
        inflow = ReceiveWindow(self._limits.stream_window_bytes)
        call = self._calls[stream] = Call(self, stream, self.initial_window, head, inflow)
        call.is_half_closed = is_whole
        if call.ends_at_s < self._deadlines.next_s:
            self._deadlines.watch(call.ends_at_s)
        if head.http_status != 200:
            self._outbox.refuse(call, http_refusal(head.http_status))
        elif head.refusal is not None:
            self.end(call, *head.refusal)
        elif head.encoding not in _ENCODINGS:
            self.end(
                call,
                grpc.StatusCode.UNIMPLEMENTED,
                f"expected a grpc-encoding out of {ENCODINGS}, got '{head.encoding}'",
                (("grpc-accept-encoding", ENCODINGS),),
            )
        elif head.path not in self._service.handlers:
            call.task = self._loop.create_task(self._stream(call))
        if is_whole and not call.is_sent:
            self._have_whole(call)

    def data(self, stream: int, payload: Payload, num_bytes: int, *, is_last: bool) -> None:
        """Takes data of a call, which take `num_bytes` of its window.

        Raises:
            StreamFault: The call cannot have more.
            ConnectionFault: There is no such call, or the client was not allowed to send so much.
        """
        if not self._inflow.arrive(num_bytes):
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window of the connection")
        call = self._calls.get(stream)
        if call is None or call.is_sent:
            self._taken(num_bytes)
            self._known(stream)
            self._patience.idle_frame()
            return
        if call.is_half_closed:
            self._taken(num_bytes)
            raise StreamFault(ErrorCode.STREAM_CLOSED, "data after the end")
        if not call.inflow.arrive(num_bytes):
            self._taken(num_bytes)
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the window of the stream")
        call.is_half_closed = is_last
        if payload:
            self._patience.progress()
            self._take(call, payload, num_bytes)
        else:
            self._patience.idle_frame()
            self.taken(call, num_bytes)
        if is_last and not call.is_sent:
            self._have_whole(call)

    def end_request(self, stream: int) -> None:
        """Takes trailers of the client.

        Raises:
            StreamFault: The call had ended before.
        """
        call = self._calls.get(stream)
        if call is None or call.is_sent:
            return
        if call.is_half_closed:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "trailers after the end")
        call.is_half_closed = True
        self._have_whole(call)

    def give_up(self, stream: int) -> None:
        """The client does not want a call's answer any more.

        Raises:
            ConnectionFault: There never was such a call, or too many are given up.
        """
        self._known(stream)
        call = self._calls.get(stream)
        if call is not None and not call.is_sent:
            self._patience.reset(monotonic())
            self._drop(call)

    def widen(self, stream: int, num_bytes: int) -> None:
        """The client takes more of a call's answer.

        Raises:
            StreamFault: Nothing more, or too much.
            ConnectionFault: There never was such a call.
        """
        self._known(stream)
        call = self._calls.get(stream)
        if call is None or call.is_sent:
            return
        if not num_bytes:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        call.window += num_bytes
        if call.window > MAX_WINDOW_BYTES:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
        self._outbox.widened(call)

    def set_initial_window(self, num_bytes: int) -> None:
        """The client takes so much of each new stream, and accordingly more or less of those that are open.

        Raises:
            ConnectionFault: One of them takes too much.
        """
        wider = num_bytes - self.initial_window
        self.initial_window = num_bytes
        for call in tuple(self._calls.values()) if wider else ():
            call.window += wider
            if call.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
            self._outbox.widened(call)

    def reset(self, stream: int, code: ErrorCode) -> None:
        """Ends a call that the client got wrong."""
        self._outbox.write(frame(FrameType.RST_STREAM, 0, stream, word(code)))
        call = self._calls.get(stream)
        if call is not None:
            self._drop(call)

    def abort(self, message: str) -> None:
        """Ends every call at once, and tells the client why."""
        for call in tuple(self._calls.values()):
            self._cut(call, grpc.StatusCode.UNAVAILABLE, message)

    def lose(self) -> None:
        """The client is gone."""
        self._deadlines.close()
        for call in tuple(self._calls.values()):
            self._drop(call)

    # What handlers do, by way of their call.

    def begin(self, call: Call, block: bytes) -> None:
        """Sends the headers of an answer."""
        if not call.is_sent:
            self._outbox.begin(call, block)

    def send(self, call: Call, message: bytes) -> None:
        """Sends one message of several."""
        if not call.is_sent:
            self._outbox.send(call, message)

    def end(self, call: Call, code: grpc.StatusCode, message: str, metadata: Metadata = ()) -> None:
        """Ends a call after its messages; one that has ended already stays as it is."""
        if call.is_sent or call.trailers is not None:
            return
        block = trailers(code, message, metadata)
        if call.is_begun:
            self._outbox.end(call, block)
        else:
            self._outbox.refuse(call, ANSWER_HEADERS + block)

    def fail(self, call: Call, error: MeshError) -> None:
        """Ends a call of which a message cannot be read, and stops its handler."""
        self._cut(call, *_status(error, call))

    def taken(self, call: Call, num_bytes: int) -> None:
        """Data of a call no longer wait here: the client may send as much again."""
        self._taken(num_bytes)
        if call.is_half_closed or call.is_sent:
            return
        more = call.inflow.take(num_bytes)
        if more:
            self._outbox.write(frame(FrameType.WINDOW_UPDATE, 0, call.stream, word(more)))

    def sent(self, stream: SendStream) -> None:
        """The end of a call was sent."""
        call = self._calls[stream.stream]
        if not call.is_half_closed:
            # The client need not send the rest.
            self._outbox.write(frame(FrameType.RST_STREAM, 0, call.stream, word(ErrorCode.NO_ERROR)))
        self._leave(call)

    # From message to answer.

    def _take(self, call: Call, payload: Payload, num_bytes: int) -> None:
        if call.reader is None:
            call.reader = MessageReader(call.head.encoding, self._limits.max_message_bytes)
        try:
            messages = list(call.reader.feed(payload))
            if call.task is not None:
                call.arrive(messages, num_bytes)
                return
            for message in messages:
                if call.message is not None:
                    raise Internal("expected one message, got two")
                call.message = message
        except MeshError as error:
            self._taken(num_bytes)
            self.fail(call, error)
            return
        self.taken(call, num_bytes)

    def _have_whole(self, call: Call) -> None:
        if call.reader is not None and not call.reader.is_between:
            self._cut(call, grpc.StatusCode.INTERNAL, "the call ends amid a message")
        elif call.task is not None:
            call.wake()
        elif call.message is None:
            self._cut(call, grpc.StatusCode.INTERNAL, "expected one message, got none")
        else:
            message, call.message = call.message, None
            call.task = self._loop.create_task(self._unary(call, message))

    async def _unary(self, call: Call, message: Buffer | Compressed) -> None:
        call.is_running = True
        try:
            if isinstance(message, Compressed):
                message = await self.inflater.plain(message)
            answer = await self._service.handlers[call.head.path](message, call)
            if not call.is_sent:
                self._outbox.answer(call, answer)
        except Exception as error:  # noqa: BLE001 - the edge: nothing may leave unmasked
            self.end(call, *_status(error, call))
        finally:
            self._finished(call)

    async def _stream(self, call: Call) -> None:
        call.is_running = True
        try:
            await self._service.others(call)
        except Exception as error:  # noqa: BLE001 - the edge: nothing may leave unmasked
            self.end(call, *_status(error, call))
        finally:
            self._finished(call)

    def _finished(self, call: Call) -> None:
        """A handler is done; one that was cancelled or forgot to end its call ends it so."""
        call.task = None
        self.end(call, grpc.StatusCode.CANCELLED, "the call was cancelled")
        if call.is_sent:
            self._leave(call)

    # The end.

    def _cut(self, call: Call, code: grpc.StatusCode, message: str, metadata: Metadata = ()) -> None:
        """Ends a call without waiting for its handler, or for messages that the client has not taken."""
        if not call.is_sent:
            self._stop(call)
            self._outbox.clear(call)
            self.end(call, code, message, metadata)

    def _drop(self, call: Call) -> None:
        """Nobody waits for the rest of a call."""
        self._stop(call)
        self._outbox.forget(call)
        self._leave(call)

    def _stop(self, call: Call) -> None:
        if call.task is not None:
            call.task.cancel()
            if not call.is_running:
                call.task = None  # it never will be: a task that is cancelled before its first step has none

    def _leave(self, call: Call) -> None:
        """The call is over, once its handler is, too."""
        if call.task is None and self._calls.pop(call.stream, None) is not None:
            self._taken(call.held_bytes)
            self._left()

    def _known(self, stream: int) -> None:
        if not stream & 1 or stream > self.last_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"the stream {stream} is not open")

    def _taken(self, num_bytes: int) -> None:
        more = self._inflow.take(num_bytes)
        if more:
            self._outbox.write(frame(FrameType.WINDOW_UPDATE, 0, 0, word(more)))

    def _expire(self, call: Call) -> None:
        self._cut(call, grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the answer was there")


def _status(error: Exception, call: Call) -> tuple[grpc.StatusCode, str, Metadata]:
    status = to_status(masked(error, method=call.head.path))
    return status.code, status.details, tuple(status.trailing_metadata or ())

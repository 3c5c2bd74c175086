"""One client's connection: HTTP/2 as far as gRPC needs it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import cast

import grpc
import structlog

from onnxmesh.errors import Internal, MeshError
from onnxmesh.rpc.edge.call import Call, StreamHandler, UnaryHandler
from onnxmesh.rpc.edge.faults import Code, ConnectionFault, NotHttp2, StreamFault
from onnxmesh.rpc.edge.framing import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW_BYTES,
    PRIORITISED,
    FrameReader,
    Kind,
    Payload,
    frame,
    read_word,
    settings_frame,
    word,
)
from onnxmesh.rpc.edge.head import Metadata
from onnxmesh.rpc.edge.header_block import ANSWER_HEADERS, HeaderBlocks, http_refusal, trailers
from onnxmesh.rpc.edge.limits import EdgeLimits
from onnxmesh.rpc.edge.messages import ENCODINGS, MessageReader
from onnxmesh.rpc.edge.outbox import FIRST_WINDOW_BYTES, Outbox, Outgoing
from onnxmesh.rpc.edge.peer_settings import PeerSettings, SettingId
from onnxmesh.rpc.interceptor import masked
from onnxmesh.rpc.status import to_status

DEADLINE_GRACE_S = 0.1
"""A handler that watches its deadline itself says better what was late: it is cancelled so much later."""

_DRAIN_PING = b"draining"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What connections serve.

    Attributes:
        handlers: By path, of calls with one message each way.
        others: Handles every other call.
        limits: Of each connection.
    """

    handlers: Mapping[str, UnaryHandler]
    others: StreamHandler
    limits: EdgeLimits


class Connection(asyncio.Protocol):
    """Serves one client. Belongs to one event loop.

    Args:
        service: What is served.
        opened: Is called when the client is there.
        closed: Is called when it is gone.
    """

    def __init__(
        self,
        service: Service,
        opened: Callable[[Connection], object],
        closed: Callable[[Connection], object],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._service = service
        self._limits = limits = service.limits
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self.peer = ""
        self._frames = FrameReader(limits.max_frame_bytes)
        self._blocks = HeaderBlocks(limits.max_headers_bytes)
        self._outbox = Outbox(self._loop, self._sent)
        self._settings = PeerSettings()
        self._calls: dict[int, Call] = {}
        self._last_stream = 0
        self._room = limits.connection_window_bytes
        self._taken_bytes = 0
        self._unfinished: tuple[int, int, bytearray, int] | None = None
        self._num_idle_frames = 0
        self._num_resets = 0
        self._num_answers_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = math.inf
        self._preface_timer: asyncio.TimerHandle | None = None
        self._goodbye: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._last_taken = MAX_WINDOW_BYTES

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
        limits = self._limits
        self._outbox.write(
            settings_frame(
                {
                    SettingId.MAX_CONCURRENT_STREAMS: limits.max_calls,
                    SettingId.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    SettingId.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    SettingId.MAX_HEADER_LIST_SIZE: limits.max_headers_bytes,
                }
            )
        )
        self._outbox.write(
            frame(Kind.WINDOW_UPDATE, 0, 0, word(limits.connection_window_bytes - FIRST_WINDOW_BYTES))
        )
        self._outbox.open(self._transport)
        self._preface_timer = self._loop.call_later(limits.preface_s, self._too_slow)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, in order or not."""
        self._transport = None
        self._outbox.close()
        for timer in (self._timer, self._preface_timer, self._goodbye):
            if timer is not None:
                timer.cancel()
        for call in tuple(self._calls.values()):
            self._give_up(call)
        self._closed(self)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._num_answers_bytes = 0
        self._outbox.resume()

    def data_received(self, data: bytes) -> None:
        """Takes what the client sent, to its last frame."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for kind, flags, stream, payload, size in self._frames.feed(data):
                try:
                    if self._unfinished is not None:
                        self._continue(kind, flags, stream, payload)
                    elif kind == DATA:
                        self._data(flags, stream, payload, size)
                    elif kind == HEADERS:
                        self._headers(flags, stream, payload)
                    else:
                        self._control(kind, flags, stream, payload)
                except StreamFault as fault:
                    self._reset(stream, fault.code)
        except NotHttp2 as error:
            _log.debug("not_http2", peer=self.peer, error=str(error))
            self._transport.abort()
        except ConnectionFault as fault:
            _log.debug("connection_refused", peer=self.peer, code=fault.code.name, error=fault.message)
            self._leave(fault.code, fault.message)

    # What handlers do, by way of their call.

    def begin(self, call: Call, block: bytes) -> None:
        """Sends the headers of an answer."""
        if not call.is_sent:
            self._outbox.begin(call, block)

    def send(self, call: Call, message: bytes) -> None:
        """Sends one message of several."""
        if not call.is_sent:
            self._outbox.send(call, message)

    def end(self, call: Call, code: grpc.StatusCode, message: str, metadata: Metadata) -> None:
        """Ends a call; one that has ended already stays as it is."""
        if call.is_sent or call.trailers is not None:
            return
        block = trailers(code, message, metadata)
        if call.is_begun:
            self._outbox.end(call, block)
        else:
            self._outbox.refuse(call, ANSWER_HEADERS + block)

    def give_back(self, call: Call, num_bytes: int) -> None:
        """The client may send so much again: it was taken."""
        self._taken(num_bytes)
        if call.is_half_closed or call.is_sent:
            return
        window = self._limits.stream_window_bytes
        unsaid = window - call.room - call.held_bytes + num_bytes
        if 2 * unsaid >= window and num_bytes:
            call.room += unsaid
            self._outbox.write(frame(Kind.WINDOW_UPDATE, 0, call.stream, word(unsaid)))

    # The end.

    @property
    def num_calls(self) -> int:
        """Calls that have not ended."""
        return len(self._calls)

    def drain(self) -> None:
        """Takes no more calls, once the client knows; ends with the last call.

        The first GOAWAY only warns: what crosses it is answered.
        """
        if self._is_draining or self._transport is None:
            return
        self._is_draining = True
        self._outbox.write(frame(Kind.GOAWAY, 0, 0, word(MAX_WINDOW_BYTES) + word(Code.NO_ERROR)))
        self._outbox.write(frame(Kind.PING, 0, 0, _DRAIN_PING))
        self._goodbye = self._loop.call_later(self._limits.settle_s, self._say_goodbye)

    def abort(self, message: str) -> None:
        """Ends every call at once, and the connection."""
        for call in tuple(self._calls.values()):
            self.end(call, grpc.StatusCode.UNAVAILABLE, message, ())
            self._give_up(call)
        if self._transport is not None:
            self._leave(Code.NO_ERROR, message)

    def _say_goodbye(self) -> None:
        if self._goodbye is None:
            return
        self._goodbye.cancel()
        self._goodbye = None
        self._last_taken = self._last_stream
        self._outbox.write(frame(Kind.GOAWAY, 0, 0, word(self._last_stream) + word(Code.NO_ERROR)))
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_draining and self._goodbye is None and not self._calls and self._transport is not None:
            self._outbox.flush()
            self._transport.close()

    def _leave(self, code: Code, message: str) -> None:
        assert self._transport is not None
        self._outbox.write(
            frame(Kind.GOAWAY, 0, 0, word(self._last_stream) + word(code) + message.encode()[:1024])
        )
        self._outbox.flush()
        self._transport.close()

    def _too_slow(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # Frames.

    def _headers(self, flags: int, stream: int, payload: Payload) -> None:
        if flags & PRIORITISED:
            if len(payload) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS lack their priority")
            payload = payload[5:]
        if not stream & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"a client cannot open the stream {stream}")
        if flags & END_HEADERS:
            self._block(flags, stream, bytes(payload))
        else:
            self._unfinished = flags, stream, bytearray(payload), 0

    def _continue(self, kind: int, flags: int, stream: int, payload: Payload) -> None:
        assert self._unfinished is not None
        first_flags, first_stream, block, num_frames = self._unfinished
        if kind != CONTINUATION or stream != first_stream:
            raise ConnectionFault(
                Code.PROTOCOL_ERROR, f"expected CONTINUATION of the stream {first_stream}, got a frame {kind}"
            )
        block += payload
        num_frames += 1
        if len(block) > self._limits.max_headers_bytes or num_frames > _MAX_CONTINUATIONS:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"headers of {len(block)} bytes or more")
        self._unfinished = first_flags, first_stream, block, num_frames
        if flags & END_HEADERS:
            self._unfinished = None
            self._block(first_flags, stream, bytes(block))

    def _block(self, flags: int, stream: int, block: bytes) -> None:
        if not self._settings.are_known:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "expected SETTINGS first")
        if stream <= self._last_stream:
            self._second_block(flags, stream, block)
            return
        self._last_stream = stream
        head = self._blocks.head(block)
        if stream > self._last_taken:
            return  # it was said that such calls are not taken: the client asks elsewhere
        if len(self._calls) >= self._limits.max_calls:
            self._wasted()
            raise StreamFault(Code.REFUSED_STREAM, "too many calls")
        self._num_idle_frames = 0
        call = self._calls[stream] = Call(
            self, stream, self._settings.initial_window, head, self._limits.stream_window_bytes
        )
        if head.timeout_s is not None and call.ends_at_s < self._timer_at_s:
            self._watch(call.ends_at_s)
        if head.http_status != 200:
            self._outbox.refuse(call, http_refusal(head.http_status))
        elif head.refusal is not None:
            self.end(call, *head.refusal, ())
        elif head.encoding not in _ENCODINGS:
            self.end(
                call,
                grpc.StatusCode.UNIMPLEMENTED,
                f"expected a grpc-encoding out of {ENCODINGS}, got '{head.encoding}'",
                (("grpc-accept-encoding", ENCODINGS),),
            )
        elif head.path not in self._service.handlers:
            call.task = self._loop.create_task(self._stream(call))
        if flags & END_STREAM:
            self._half_close(call)

    def _second_block(self, flags: int, stream: int, block: bytes) -> None:
        self._blocks.read(block)
        self._idle_frame()
        call = self._calls.get(stream)
        if not flags & END_STREAM:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"the stream {stream} was opened before")
        if call is not None and not call.is_sent:
            if call.is_half_closed:
                raise StreamFault(Code.STREAM_CLOSED, "trailers after the end")
            self._half_close(call)

    def _data(self, flags: int, stream: int, payload: Payload, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more data than the connection's window")
        call = self._calls.get(stream)
        if call is None or call.is_sent:
            if stream > self._last_stream or not stream & 1:
                raise ConnectionFault(Code.PROTOCOL_ERROR, f"data of the stream {stream}, which is not open")
            self._taken(size)
            self._idle_frame()
            return
        if call.is_half_closed:
            self._taken(size)
            raise StreamFault(Code.STREAM_CLOSED, "data after the end")
        call.room -= size
        if call.room < 0:
            raise StreamFault(Code.FLOW_CONTROL_ERROR, "more data than the stream's window")
        if payload:
            self._num_idle_frames = 0
            self._take(call, payload, size)
        else:
            self._idle_frame()
            self._taken(size)
        if flags & END_STREAM and not call.is_sent:
            self._half_close(call)

    def _take(self, call: Call, payload: Payload, size: int) -> None:
        if call.reader is None:
            call.reader = MessageReader(call.head.encoding, self._limits.max_message_bytes)
        try:
            messages = list(call.reader.feed(payload))
            if call.task is not None:
                call.arrive(messages, size)
                return
            for message in messages:
                if call.message is not None:
                    raise Internal("expected one message, got two")
                call.message = message
        except MeshError as error:
            self._taken(size)
            self._fail(call, error)
            self._give_up(call)
            return
        self.give_back(call, size)

    def _half_close(self, call: Call) -> None:
        call.is_half_closed = True
        if call.is_sent:
            self._leave_call(call)
        elif call.reader is not None and not call.reader.is_between:
            self._fail(call, Internal("the call ends amid a message"))
            self._give_up(call)
        elif call.task is not None:
            call.wake()
        elif call.message is None:
            self._fail(call, Internal("expected one message, got none"))
        else:
            message, call.message = call.message, None
            call.task = self._loop.create_task(self._unary(call, message))

    def _control(self, kind: int, flags: int, stream: int, payload: Payload) -> None:
        if kind == Kind.WINDOW_UPDATE:
            self._window_update(stream, read_word(payload, Kind.WINDOW_UPDATE) & MAX_WINDOW_BYTES)
        elif kind == Kind.RST_STREAM:
            read_word(payload, Kind.RST_STREAM)
            self._was_reset(stream)
        elif kind == Kind.PING:
            self._ping(flags, stream, payload)
        elif kind == Kind.SETTINGS:
            self._peer_settings(flags, stream, payload)
        elif kind == Kind.GOAWAY:
            if stream:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY of one stream")
            self.drain()
        elif kind == Kind.CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of nothing")
        elif kind == Kind.PUSH_PROMISE:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a client cannot promise")
        elif kind == Kind.PRIORITY:
            if not stream:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY of no stream")
            if len(payload) != 5:
                raise StreamFault(Code.FRAME_SIZE_ERROR, "PRIORITY of another size")
        self._idle_frame()

    def _window_update(self, stream: int, num_bytes: int) -> None:
        if not stream:
            if not num_bytes:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the window grows by nothing")
            self._outbox.widen(num_bytes)
            return
        if stream > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"the stream {stream} is not open")
        call = self._calls.get(stream)
        if call is None or call.is_sent:
            return
        if not num_bytes:
            raise StreamFault(Code.PROTOCOL_ERROR, "the window grows by nothing")
        call.window += num_bytes
        if call.window > MAX_WINDOW_BYTES:
            raise StreamFault(Code.FLOW_CONTROL_ERROR, "the window is too wide")
        self._outbox.widened(call)

    def _was_reset(self, stream: int) -> None:
        if not stream or stream > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, f"the stream {stream} is not open")
        call = self._calls.get(stream)
        if call is not None and not call.is_sent:
            self._wasted()
            self._give_up(call)

    def _ping(self, flags: int, stream: int, payload: Payload) -> None:
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING of one stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"expected PING of 8 bytes, got {len(payload)}")
        if not flags & ACK:
            self._reply(frame(Kind.PING, ACK, 0, bytes(payload)))
        elif payload == _DRAIN_PING:
            self._say_goodbye()

    def _peer_settings(self, flags: int, stream: int, payload: Payload) -> None:
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS of one stream")
        if flags & ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an ACK of SETTINGS is empty")
            return
        if self._preface_timer is not None:
            self._preface_timer.cancel()
            self._preface_timer = None
        before = self._settings.initial_window
        self._settings.update(payload)
        self._outbox.max_frame_bytes = self._settings.max_frame_bytes
        wider = self._settings.initial_window - before
        for call in tuple(self._calls.values()) if wider else ():
            call.window += wider
            if call.window > MAX_WINDOW_BYTES:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "the window of a stream is too wide")
            self._outbox.widened(call)
        self._reply(frame(Kind.SETTINGS, ACK, 0))

    # Clients that only make work.

    def _reply(self, answer: bytes) -> None:
        if self._outbox.is_paused:
            self._num_answers_bytes += len(answer)
            if self._num_answers_bytes > self._limits.max_answers_bytes:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "answers are not read")
        self._outbox.write(answer)

    def _idle_frame(self) -> None:
        self._num_idle_frames += 1
        if self._num_idle_frames > self._limits.max_idle_frames:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many frames that bring nothing on")

    def _wasted(self) -> None:
        self._num_resets += 1
        if self._num_resets > self._limits.max_resets:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too many calls were given up")

    # Calls.

    async def _unary(self, call: Call, message: bytes) -> None:
        try:
            answer = await self._service.handlers[call.head.path](message, call)
            if not call.is_sent:
                self._outbox.answer(call, answer)
        except Exception as error:  # noqa: BLE001 - the edge: nothing may leave unmasked
            self._fail(call, error)
        finally:
            self._finished(call)

    async def _stream(self, call: Call) -> None:
        try:
            await self._service.others(call)
        except Exception as error:  # noqa: BLE001 - the edge: nothing may leave unmasked
            self._fail(call, error)
        finally:
            self._finished(call)

    def _finished(self, call: Call) -> None:
        """A handler is done, cancelled ones included."""
        call.task = None
        self.end(call, grpc.StatusCode.CANCELLED, "the call was cancelled", ())
        if call.is_sent:
            self._leave_call(call)

    def _fail(self, call: Call, error: Exception) -> None:
        status = to_status(masked(error, call.head.path))
        self.end(call, status.code, status.details, tuple(status.trailing_metadata or ()))

    def _sent(self, stream: Outgoing) -> None:
        """The end of a call was sent."""
        call = self._calls[stream.stream]
        if self._num_resets:
            self._num_resets -= 1
        if not call.is_half_closed:
            # The client need not send the rest.
            self._outbox.write(frame(Kind.RST_STREAM, 0, call.stream, word(Code.NO_ERROR)))
        self._leave_call(call)

    def _give_up(self, call: Call) -> None:
        """Nobody waits for the rest of a call."""
        self._outbox.forget(call)
        if call.task is not None:
            call.task.cancel()
        else:
            self._leave_call(call)

    def _leave_call(self, call: Call) -> None:
        if call.task is not None or self._calls.pop(call.stream, None) is None:
            return
        self._taken(call.held_bytes)
        if self._is_draining:
            self._close_if_idle()

    def _reset(self, stream: int, code: Code) -> None:
        self._reply(frame(Kind.RST_STREAM, 0, stream, word(code)))
        call = self._calls.get(stream)
        if call is not None:
            self._give_up(call)

    def _taken(self, num_bytes: int) -> None:
        self._taken_bytes += num_bytes
        if 2 * self._taken_bytes >= self._limits.connection_window_bytes:
            self._room += self._taken_bytes
            self._outbox.write(frame(Kind.WINDOW_UPDATE, 0, 0, word(self._taken_bytes)))
            self._taken_bytes = 0

    # Deadlines.

    def _watch(self, at_s: float) -> None:
        """Has `_expire` called when the earliest deadline is past; most calls end long before theirs."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at_s = at_s
        self._timer = self._loop.call_later(max(0.0, at_s - monotonic()) + DEADLINE_GRACE_S, self._expire)

    def _expire(self) -> None:
        now = monotonic()
        self._timer, self._timer_at_s = None, math.inf
        for call in tuple(self._calls.values()):
            if call.ends_at_s <= now and not call.is_sent:
                self.end(call, grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the answer", ())
                with contextlib.suppress(ConnectionFault):
                    self._give_up(call)
        ends = [call.ends_at_s for call in self._calls.values() if not call.is_sent]
        if ends and min(ends) < math.inf:
            self._watch(min(ends))


_ENCODINGS = frozenset(ENCODINGS.split(", "))
_MAX_CONTINUATIONS = 64

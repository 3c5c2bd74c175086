"""One client's connection: HTTP/2 as far as gRPC needs it.

Source: https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, NotHttp2, StreamFault
from onnxmesh.http2.protocol.frames import (
    ACK,
    DATA,
    END_STREAM,
    FIRST_WINDOW_BYTES,
    HEADERS,
    MAX_WINDOW_BYTES,
    FrameReader,
    FrameType,
    Payload,
    frame,
    read_word,
    settings_frame,
    word,
)
from onnxmesh.http2.protocol.header_blocks import HeaderBlocks
from onnxmesh.http2.protocol.header_frames import PRIORITY_BYTES, HeaderFrames, HeaderPieces
from onnxmesh.http2.protocol.peer_settings import PeerSettings, SettingId
from onnxmesh.http2.server.call import Service
from onnxmesh.http2.server.calls import Calls
from onnxmesh.http2.server.send_queue import SendQueue

WRITE_BUFFER_BYTES = 1 << 20
"""What may wait in the transport of a client that does not read before answers wait here."""

_PING_BYTES = 8
_DRAIN_PING = b"draining"

_log = structlog.get_logger(__name__)


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
        self._limits = limits = service.limits
        self._opened = opened
        self._closed = closed
        self._transport: asyncio.Transport | None = None
        self._frames = FrameReader(limits.max_frame_bytes)
        self._header_frames = HeaderFrames(limits.max_headers_bytes)
        self._blocks = HeaderBlocks(limits.max_headers_bytes)
        self._settings = PeerSettings()
        self._patience = AbuseGuard(limits)
        self._outbox = SendQueue(self._loop, self._patience)
        self._calls = Calls(service, self._outbox, self._patience, self._call_left)
        self._calls.initial_window = self._settings.initial_window
        self._outbox.on_sent = self._calls.sent
        self._preface_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._is_warned = False
        self._last_taken = MAX_WINDOW_BYTES

    # What the transport says.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        # uvloop's transports are of no class of asyncio.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        name = transport.get_extra_info("peername")
        self._calls.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name)
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
        wider = limits.connection_window_bytes - FIRST_WINDOW_BYTES
        self._outbox.write(frame(FrameType.WINDOW_UPDATE, 0, 0, word(wider)))
        self._outbox.open(self._transport)
        self._preface_timer = self._loop.call_later(limits.preface_s, self._transport.abort)
        self._look_timer = self._loop.call_later(limits.untaken_s, self._look)
        self._opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, in order or not."""
        self._transport = None
        self._outbox.close()
        for timer in (self._preface_timer, self._end_timer, self._look_timer):
            if timer is not None:
                timer.cancel()
        self._calls.lose()
        self._closed(self)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._outbox.pause()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._patience.reads()
        self._outbox.resume()

    def data_received(self, data: bytes) -> None:
        """Takes what the client sent, to its last frame."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            for kind, flags, stream, payload, size in self._frames.feed(data):
                try:
                    if self._header_frames.unfinished is not None:
                        self._block(self._header_frames.go_on(kind, flags, stream, payload))
                    elif kind == DATA:
                        self._calls.data(stream, payload, size, is_last=bool(flags & END_STREAM))
                    elif kind == HEADERS:
                        self._block(self._header_frames.begin(flags, stream, payload))
                    else:
                        self._control(kind, flags, stream, payload)
                except StreamFault as fault:
                    _log.debug(
                        "call_refused", peer=self._calls.peer, code=fault.code.name, error=fault.message
                    )
                    self._count_reply()
                    self._calls.reset(stream, fault.code)
        except NotHttp2 as error:
            _log.debug("not_http2", peer=self._calls.peer, error=str(error))
            self._transport.abort()
        except ConnectionFault as fault:
            _log.debug("client_refused", peer=self._calls.peer, code=fault.code.name, error=fault.message)
            self._leave(fault.code, fault.message)

    def _look(self) -> None:
        """Leaves a client that takes nothing of what it asked for."""
        try:
            self._patience.look(waits=self._outbox.waits)
        except ConnectionFault as fault:
            _log.debug("client_refused", peer=self._calls.peer, code=fault.code.name, error=fault.message)
            if self._transport is not None and not self._transport.is_closing():
                self._leave(fault.code, fault.message)
        else:
            self._look_timer = self._loop.call_later(self._limits.untaken_s, self._look)

    # The end.

    def drain(self) -> None:
        """Takes no more calls, once the client knows; the connection ends with the last call.

        The first GOAWAY only warns: what crosses it is answered.
        """
        if self._is_warned or self._transport is None:
            return
        self._is_warned = True
        self._goaway(MAX_WINDOW_BYTES, ErrorCode.NO_ERROR)
        self._outbox.write(frame(FrameType.PING, 0, 0, _DRAIN_PING))
        self._end_timer = self._loop.call_later(self._limits.settle_s, self._say_goodbye)

    def abort(self, message: str) -> None:
        """Ends every call at once, and the connection."""
        if self._transport is not None:
            self._calls.abort(message)
        if self._transport is not None:
            self._leave(ErrorCode.NO_ERROR, message)

    def _say_goodbye(self) -> None:
        """The client knows by now, or had the time to."""
        transport = self._transport
        if self._last_taken == MAX_WINDOW_BYTES and transport is not None and not transport.is_closing():
            if self._end_timer is not None:
                self._end_timer.cancel()
            self._last_taken = self._calls.last_stream
            self._goaway(self._last_taken, ErrorCode.NO_ERROR)
            self._call_left()

    def _call_left(self) -> None:
        if self._last_taken < MAX_WINDOW_BYTES and not self._calls and self._transport is not None:
            self._close(self._transport)

    def _leave(self, code: ErrorCode, message: str) -> None:
        assert self._transport is not None
        self._goaway(self._calls.last_stream, code, message)
        self._close(self._transport)

    def _goaway(self, last_stream: int, code: ErrorCode, message: str = "") -> None:
        self._outbox.write(frame(FrameType.GOAWAY, 0, 0, word(last_stream) + word(code) + message.encode()))

    def _close(self, transport: asyncio.Transport) -> None:
        """Closes the connection once the client has taken everything, or had the time to."""
        if not transport.is_closing():
            self._outbox.flush()
            self._outbox.close()
            transport.close()
            self._end_timer = self._loop.call_later(self._limits.settle_s, transport.abort)

    # Frames.

    def _block(self, whole: HeaderPieces | None) -> None:
        """Takes a header block that has come; None: more of it must follow."""
        if whole is None:
            return
        if not self._settings.are_known:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected SETTINGS first")
        stream = whole.stream
        if stream > self._calls.last_stream:
            self._calls.last_stream = stream
            head = self._blocks.head(whole.block)
            # Once it was said that no more are taken, the client asks elsewhere.
            if stream <= self._last_taken:
                self._calls.open(stream, head, is_whole=whole.is_last)
            return
        self._blocks.read(whole.block)
        self._patience.idle_frame()
        if not whole.is_last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"the stream {stream} was opened before")
        self._calls.end_request(stream)

    def _control(self, kind: int, flags: int, stream: int, payload: Payload) -> None:
        self._patience.idle_frame()
        if kind == FrameType.WINDOW_UPDATE:
            num_bytes = read_word(payload, FrameType.WINDOW_UPDATE) & MAX_WINDOW_BYTES
            if stream:
                self._calls.widen(stream, num_bytes)
            else:
                self._outbox.widen(num_bytes)
        elif kind == FrameType.RST_STREAM:
            read_word(payload, FrameType.RST_STREAM)
            self._calls.give_up(stream)
        elif kind == FrameType.PRIORITY:
            if not stream:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
            if len(payload) != PRIORITY_BYTES:
                raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        elif kind in (FrameType.PUSH_PROMISE, FrameType.CONTINUATION):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"did not expect {FrameType(kind).name}")
        elif kind in (FrameType.PING, FrameType.SETTINGS, FrameType.GOAWAY):
            if stream:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} of one stream")
            self._of_connection(kind, payload, is_answer=bool(flags & ACK))

    def _of_connection(self, kind: int, payload: Payload, *, is_answer: bool) -> None:
        if kind == FrameType.GOAWAY:
            self.drain()
        elif kind == FrameType.PING:
            if len(payload) != _PING_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
            if not is_answer:
                self._count_reply()
                self._outbox.write(frame(FrameType.PING, ACK, 0, bytes(payload)))
            elif self._is_warned and payload == _DRAIN_PING:
                self._say_goodbye()
        elif not is_answer:
            if self._preface_timer is not None:
                self._preface_timer.cancel()
                self._preface_timer = None
            self._settings.update(payload)
            # Ahead of all that follows from it: until then the client goes by what was before.
            self._count_reply()
            self._outbox.write(frame(FrameType.SETTINGS, ACK, 0))
            self._outbox.max_frame_bytes = self._settings.max_frame_bytes
            self._calls.set_initial_window(self._settings.initial_window)
        elif payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that are acknowledged have none")

    def _count_reply(self) -> None:
        if self._outbox.is_paused:
            self._patience.unread()

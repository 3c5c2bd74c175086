"""Server side of one HTTP/2 connection: bytes in, events out, frames to send. No I/O, no clock.

Source: https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, StreamFault
from onnxmesh.http2.protocol.frames import (
    ACK,
    DATA,
    DEFAULT_WINDOW_BYTES,
    END_STREAM,
    HEADERS,
    MAX_WINDOW_BYTES,
    WINDOW_UPDATE,
    FrameReader,
    FrameType,
    Payload,
    frame,
    read_uint32,
    settings_frame,
    uint32,
)
from onnxmesh.http2.protocol.header_blocks import HeaderDecoder
from onnxmesh.http2.protocol.header_frames import PRIORITY_BYTES, HeaderBlock, HeaderFrames
from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.protocol.peer_settings import PeerSettings, SettingId
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.send_queue import FrameOutput, SendQueue

_PING_BYTES = 8
_DRAIN_PING = b"draining"


class StreamEvents(Protocol):
    """Events of streams. Each may raise `StreamFault` or `ConnectionFault`."""

    def request_received(self, stream_id: int, head: RequestHead, *, end_stream: bool) -> None:
        """HEADERS opened a stream."""

    def data_received(self, stream_id: int, payload: Payload, num_bytes: int, *, end_stream: bool) -> bool:
        """DATA was received, which takes `num_bytes` of the windows; returns False if no open stream has this identifier."""

    def trailers_received(self, stream_id: int) -> None:
        """HEADERS with END_STREAM were received for a stream that was opened before."""

    def reset_received(self, stream_id: int) -> None:
        """RST_STREAM was received."""

    def window_update_received(self, stream_id: int, increment: int) -> None:
        """WINDOW_UPDATE of a stream was received."""

    def initial_window_received(self, window: int) -> None:
        """SETTINGS were received, with this initial window."""

    def stream_failed(self, stream_id: int, fault: StreamFault) -> None:
        """The client made an error that ends one stream with RST_STREAM."""


class ShutdownEvents(Protocol):
    """Events of a connection that ends."""

    def goaway_received(self) -> None:
        """The client will send no more requests."""

    def drain_acknowledged(self) -> None:
        """The client has received the announcement of `ConnectionState.announce_drain`."""


class DrainState(Enum):
    """Graceful shutdown of a connection, by two GOAWAY frames.

    Source: https://www.rfc-editor.org/rfc/rfc9113#section-6.8
    """

    SERVING = auto()
    ANNOUNCED = auto()
    """The first GOAWAY was sent: requests that cross it are still accepted."""
    FINAL = auto()
    """The second GOAWAY was sent: it names the last request that was accepted."""


class ConnectionState:
    """Protocol state of one connection: which frames may follow, SETTINGS, and graceful shutdown.

    Args:
        limits: Announced to the client, and enforced.
        output: Control frames are written to it.
        send_queue: Is given the client's windows and frame size.
        abuse_guard: Counts frames without progress.
        streams: Receives the events of streams.
        shutdown: Receives the events of the connection's end.

    Attributes:
        drain_state: Progress of a graceful shutdown.
        last_stream_id: The highest identifier of a stream that the client opened.
    """

    __slots__ = (
        "_abuse_guard",
        "_decoder",
        "_frames",
        "_has_started",
        "_header_frames",
        "_last_accepted_id",
        "_limits",
        "_output",
        "_send_queue",
        "_settings",
        "_shutdown",
        "_streams",
        "drain_state",
        "last_stream_id",
    )

    def __init__(
        self,
        limits: ConnectionLimits,
        output: FrameOutput,
        send_queue: SendQueue,
        *,
        abuse_guard: AbuseGuard,
        streams: StreamEvents,
        shutdown: ShutdownEvents,
    ) -> None:
        self._limits = limits
        self._output = output
        self._send_queue = send_queue
        self._abuse_guard = abuse_guard
        self._streams = streams
        self._shutdown = shutdown
        self._frames = FrameReader(limits.max_frame_bytes)
        self._header_frames = HeaderFrames(limits.max_skipped_headers_bytes)
        self._decoder = HeaderDecoder(limits.max_headers_bytes)
        self._settings = PeerSettings()
        self._last_accepted_id = MAX_WINDOW_BYTES
        self._has_started = False
        self.drain_state = DrainState.SERVING
        self.last_stream_id = 0

    @property
    def has_peer_settings(self) -> bool:
        """Whether the client's SETTINGS were received: until then it may be a client of another protocol."""
        return self._settings.are_received

    def start(self) -> None:
        """Sends the server's preface, once: SETTINGS, and the window of the connection.

        It follows the client's preface, as a client of another protocol gets an answer of its own.
        """
        if self._has_started:
            return
        self._has_started = True
        limits = self._limits
        self._output.write(
            settings_frame(
                {
                    SettingId.MAX_CONCURRENT_STREAMS: limits.max_calls,
                    SettingId.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                    SettingId.MAX_FRAME_SIZE: limits.max_frame_bytes,
                    SettingId.MAX_HEADER_LIST_SIZE: limits.max_headers_bytes,
                }
            )
        )
        increment = limits.connection_window_bytes - DEFAULT_WINDOW_BYTES
        self._output.write(frame(FrameType.WINDOW_UPDATE, 0, 0, uint32(increment)))

    def receive(self, data: bytes) -> None:
        """Handles bytes of the client, up to their last complete frame.

        Raises:
            NotHttp2: The first bytes are not the preface of HTTP/2.
            ConnectionFault: The connection must end, with `send_goaway`.
        """
        frames = self._frames.feed(data)
        if not self._has_started and self._frames.has_preface:
            self.start()
        for kind, flags, stream_id, payload, size in frames:
            try:
                if self._header_frames.incomplete is not None:
                    self._receive_block(
                        self._header_frames.receive_continuation(kind, flags, stream_id, payload)
                    )
                elif kind == DATA:
                    if not self._streams.data_received(
                        stream_id, payload, size, end_stream=bool(flags & END_STREAM)
                    ):
                        self._check_not_idle(stream_id)
                        self._abuse_guard.count_idle_frame()
                elif kind == HEADERS:
                    self._receive_block(self._header_frames.receive_headers(flags, stream_id, payload))
                else:
                    self._receive_control(kind, flags, stream_id, payload)
            except StreamFault as fault:
                self._count_reply()
                self._streams.stream_failed(stream_id, fault)

    def announce_drain(self) -> None:
        """Sends the first GOAWAY of a graceful shutdown, and a PING whose reply shows that the client has received it."""
        if self.drain_state is DrainState.SERVING:
            self.drain_state = DrainState.ANNOUNCED
            self._write_goaway(MAX_WINDOW_BYTES, ErrorCode.NO_ERROR)
            self._output.write(frame(FrameType.PING, 0, 0, _DRAIN_PING))

    def finish_drain(self) -> None:
        """Sends the second GOAWAY: requests after the last one so far are ignored, and the client sends them elsewhere."""
        if self.drain_state is not DrainState.FINAL:
            self.drain_state = DrainState.FINAL
            self._last_accepted_id = self.last_stream_id
            self._write_goaway(self.last_stream_id, ErrorCode.NO_ERROR)

    def send_goaway(self, code: ErrorCode, message: str) -> None:
        """Sends the GOAWAY of a connection that ends at once."""
        self._write_goaway(self.last_stream_id, code, message)

    def _write_goaway(self, last_stream_id: int, code: ErrorCode, message: str = "") -> None:
        self.start()  # no other frame may be the first
        self._output.write(
            frame(FrameType.GOAWAY, 0, 0, uint32(last_stream_id) + uint32(code) + message.encode())
        )

    def _receive_block(self, block: HeaderBlock | None) -> None:
        """Handles a header block; None: CONTINUATION must complete it."""
        if block is None:
            return
        if not self._settings.are_received:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected SETTINGS first")
        stream_id = block.stream_id
        if stream_id > self.last_stream_id:
            self.last_stream_id = stream_id
            head = self._decoder.request_head(block.data)
            if head.is_too_long:
                self._abuse_guard.count_long_headers(len(block.data))
            if stream_id <= self._last_accepted_id:
                self._streams.request_received(stream_id, head, end_stream=block.end_stream)
            return
        is_too_long = self._decoder.skip(block.data)  # every block changes the table, of whichever stream
        self._abuse_guard.count_idle_frame()
        if not block.end_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"the stream {stream_id} was opened before")
        if is_too_long:
            self._abuse_guard.count_long_headers(len(block.data))
            raise StreamFault(ErrorCode.ENHANCE_YOUR_CALM, "the trailers of a request are too long")
        self._streams.trailers_received(stream_id)

    def _receive_control(self, kind: int, flags: int, stream_id: int, payload: Payload) -> None:
        self._abuse_guard.count_idle_frame()
        if kind == WINDOW_UPDATE:
            increment = read_uint32(payload, WINDOW_UPDATE) & MAX_WINDOW_BYTES
            if stream_id:
                self._check_not_idle(stream_id)
                self._streams.window_update_received(stream_id, increment)
            else:
                self._send_queue.increment_window(increment)
        elif kind == FrameType.RST_STREAM:
            read_uint32(payload, FrameType.RST_STREAM)
            self._check_not_idle(stream_id)
            self._streams.reset_received(stream_id)
        elif kind == FrameType.PRIORITY:
            if not stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
            if len(payload) != PRIORITY_BYTES:
                raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
        elif kind in (FrameType.PUSH_PROMISE, FrameType.CONTINUATION):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"did not expect {FrameType(kind).name}")
        elif kind in (FrameType.PING, FrameType.SETTINGS, FrameType.GOAWAY):
            if stream_id:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{FrameType(kind).name} of one stream")
            self._receive_connection_frame(kind, payload, is_ack=bool(flags & ACK))

    def _receive_connection_frame(self, kind: int, payload: Payload, *, is_ack: bool) -> None:
        if kind == FrameType.GOAWAY:
            self._shutdown.goaway_received()
        elif kind == FrameType.PING:
            if len(payload) != _PING_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
            if not is_ack:
                self._count_reply()
                self._output.write(frame(FrameType.PING, ACK, 0, bytes(payload)))
            elif self.drain_state is DrainState.ANNOUNCED and payload == _DRAIN_PING:
                self._shutdown.drain_acknowledged()
        elif not is_ack:
            self._settings.update(payload)
            # Before all frames that follow from it: until the acknowledgement the client assumes its old settings.
            self._count_reply()
            self._output.write(frame(FrameType.SETTINGS, ACK, 0))
            self._send_queue.max_frame_bytes = self._settings.max_frame_bytes
            self._streams.initial_window_received(self._settings.initial_window_bytes)
        elif payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that are acknowledged have none")

    def _check_not_idle(self, stream_id: int) -> None:
        if not stream_id & 1 or stream_id > self.last_stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"the stream {stream_id} is not open")

    def _count_reply(self) -> None:
        if self._send_queue.is_paused:
            self._abuse_guard.count_unread_reply()

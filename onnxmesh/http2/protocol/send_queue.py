"""Responses of one connection, cut into frames within the client's flow control windows."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Protocol

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME_BYTES,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MAX_WINDOW_BYTES,
    frame_header,
)
from onnxmesh.http2.protocol.header_blocks import GZIP_HEADERS, OK_TRAILERS, RESPONSE_HEADERS
from onnxmesh.http2.protocol.messages import PREFIX_BYTES
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import AFTER_SEND_END_STREAM

# HEADERS, the header of DATA and the message's prefix in one; and HEADERS with the trailers.
_RESPONSE_BEGIN = Struct(f"!5sL{len(RESPONSE_HEADERS)}sHBBBLBL")
_RESPONSE_HEADERS_FRAME = frame_header(HEADERS, END_HEADERS, 0, len(RESPONSE_HEADERS))[:5]
_RESPONSE_END = Struct(f"!5sL{len(OK_TRAILERS)}s")
_OK_TRAILERS_FRAME = frame_header(HEADERS, END_HEADERS | END_STREAM, 0, len(OK_TRAILERS))[:5]


class FrameOutput(Protocol):
    """Where frames are written to, in order."""

    def write(self, part: bytes | memoryview) -> None:
        """Writes whole frames, or the next part of one."""

    def write_response(self, parts: tuple[bytes, bytes, bytes], num_bytes: int) -> None:
        """Writes all frames of a response, whose message takes `num_bytes`."""


class SendQueue:
    """Sends responses as the client's windows allow, concurrent ones frame by frame in turn.

    Args:
        output: Frames are written to it.
        abuse_guard: Data that is sent counts as progress.

    Attributes:
        on_end_stream: Is called with each stream after its END_STREAM was written.
        window: Send window of the connection in bytes.
        max_frame_bytes: The longest payload of a frame that is sent.
    """

    __slots__ = (
        "_abuse_guard",
        "_blocked",
        "_is_paused",
        "_write",
        "_write_response",
        "max_frame_bytes",
        "on_end_stream",
        "window",
    )

    def __init__(self, output: FrameOutput, abuse_guard: AbuseGuard) -> None:
        self._write = output.write
        self._write_response = output.write_response
        self._abuse_guard = abuse_guard
        self.on_end_stream: Callable[[SendStream], None] = lambda _: None
        self._blocked: dict[int, SendStream] = {}
        self._is_paused = False
        self.window = DEFAULT_WINDOW_BYTES
        self.max_frame_bytes = DEFAULT_MAX_FRAME_BYTES

    @property
    def is_paused(self) -> bool:
        """Whether the client does not read what was sent."""
        return self._is_paused

    @property
    def is_blocked(self) -> bool:
        """Whether responses wait for a window, or for the client to read."""
        return bool(self._blocked)

    def send_response(self, stream: SendStream, message: bytes) -> None:
        """Sends a whole unary response of status OK: headers, message, trailers."""
        size = PREFIX_BYTES + len(message)
        if (
            size > self.max_frame_bytes
            or size > self.window
            or size > stream.window
            or self._is_paused
            or stream.has_sent_headers
        ):
            self.send_headers(stream, RESPONSE_HEADERS)
            stream.add(message)
            self.send_trailers(stream, OK_TRAILERS)
            return
        self.window -= size
        self._abuse_guard.record_sent_data()
        stream_id = stream.stream_id
        begin = _RESPONSE_BEGIN.pack(
            _RESPONSE_HEADERS_FRAME,
            stream_id,
            RESPONSE_HEADERS,
            size >> 8,
            size & 0xFF,
            DATA,
            0,
            stream_id,
            0,
            len(message),
        )
        self._write_response(
            (begin, message, _RESPONSE_END.pack(_OK_TRAILERS_FRAME, stream_id, OK_TRAILERS)), size
        )
        stream.state = AFTER_SEND_END_STREAM[stream.state]
        self.on_end_stream(stream)

    def send_gzip_response(self, stream: SendStream, message: bytes) -> None:
        """Sends a whole unary response of status OK whose message is compressed by gzip."""
        self.send_headers(stream, GZIP_HEADERS)
        stream.add(message, is_compressed=True)
        self.send_trailers(stream, OK_TRAILERS)

    def send_http_response(self, stream: SendStream, block: bytes, body: bytes) -> None:
        """Sends a response that is not gRPC: headers and a short body; without the body if the windows do not allow it now."""
        size = len(body)
        if not body or self._is_paused or size > min(self.window, stream.window, self.max_frame_bytes):
            self._end_stream(stream, block)
            return
        stream.state = AFTER_SEND_END_STREAM[stream.state]
        self.window -= size
        stream.window -= size
        self._send_block(stream, block, END_HEADERS)
        self._write(frame_header(DATA, END_STREAM, stream.stream_id, size) + body)
        self.on_end_stream(stream)

    def send_headers(self, stream: SendStream, block: bytes) -> None:
        """Sends the headers of a response, unless they were sent."""
        if not stream.has_sent_headers:
            stream.has_sent_headers = True
            self._send_block(stream, block, END_HEADERS)

    def send_message(self, stream: SendStream, message: bytes) -> None:
        """Sends one of several messages, as soon as the windows allow."""
        stream.add(message)
        self._send_frames(stream)

    def send_trailers(self, stream: SendStream, block: bytes) -> None:
        """Sends trailers with END_STREAM, after all messages."""
        stream.trailers = block
        self._send_frames(stream)

    def send_trailers_only(self, stream: SendStream, block: bytes) -> None:
        """Sends a response that is one header block with END_STREAM, gRPC's Trailers-Only."""
        self._end_stream(stream, block)

    def discard(self, stream: SendStream) -> None:
        """Removes what waits to be sent on a stream."""
        self._blocked.pop(stream.stream_id, None)
        stream.clear()

    def close(self) -> None:
        """Removes all streams that wait; the connection is closed."""
        self._blocked.clear()

    def increment_window(self, increment: int) -> None:
        """Applies WINDOW_UPDATE of the connection.

        Raises:
            ConnectionFault: The increment is 0, or the window becomes larger than HTTP/2 allows.
        """
        self.window += increment
        if not increment:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if self.window > MAX_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too wide")
        self._send_blocked()

    def stream_window_changed(self, stream: SendStream) -> None:
        """Sends what a stream's new window allows."""
        if stream.stream_id in self._blocked:
            self._send_frames(stream)

    def pause(self) -> None:
        """Stops sending data: the client does not read."""
        self._is_paused = True

    def resume(self) -> None:
        """Sends what waited while the client did not read."""
        self._is_paused = False
        self._send_blocked()

    def _send_block(self, stream: SendStream, block: bytes, flags: int) -> None:
        # Metadata of our own fits one frame, but that of the gRPC server behind need not.
        first, rest = block[:DEFAULT_MAX_FRAME_BYTES], block[DEFAULT_MAX_FRAME_BYTES:]
        if rest:
            flags &= ~END_HEADERS
        self._write(frame_header(HEADERS, flags, stream.stream_id, len(first)) + first)
        while rest:
            first, rest = rest[:DEFAULT_MAX_FRAME_BYTES], rest[DEFAULT_MAX_FRAME_BYTES:]
            flags = 0 if rest else END_HEADERS
            self._write(frame_header(CONTINUATION, flags, stream.stream_id, len(first)) + first)

    def _end_stream(self, stream: SendStream, block: bytes) -> None:
        stream.state = AFTER_SEND_END_STREAM[stream.state]
        self._send_block(stream, block, END_HEADERS | END_STREAM)
        self.on_end_stream(stream)

    def _send_frames(self, stream: SendStream) -> None:
        while self._send_frame(stream):
            pass

    def _send_blocked(self) -> None:
        """Sends what the windows allow, one frame of each stream in turn."""
        has_sent = True
        while has_sent:
            has_sent = False
            for stream in tuple(self._blocked.values()):
                if self.window <= 0 or self._is_paused:
                    return
                if self._send_frame(stream):
                    has_sent = True
                    if self._blocked.pop(stream.stream_id, None) is not None:
                        self._blocked[stream.stream_id] = stream  # behind the others

    def _send_frame(self, stream: SendStream) -> bool:
        """Sends the next frame of a stream; returns whether another may follow."""
        queued_bytes = stream.queued_bytes
        if queued_bytes:
            size = min(queued_bytes, stream.window, self.window, self.max_frame_bytes)
            if size <= 0 or self._is_paused:
                self._blocked[stream.stream_id] = stream
                return False
            stream.window -= size
            self.window -= size
            self._abuse_guard.record_sent_data()
            self._write(frame_header(DATA, 0, stream.stream_id, size))
            for piece in stream.take(size):
                self._write(piece)
            return True
        self._blocked.pop(stream.stream_id, None)
        if stream.trailers is not None:
            block, stream.trailers = stream.trailers, None
            self._end_stream(stream, block)
        return False

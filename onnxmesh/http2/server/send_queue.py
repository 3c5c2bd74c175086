"""What one connection sends: frames gathered to one write, within the windows that the client gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW_BYTES,
    HEADERS,
    LEAST_MAX_FRAME_BYTES,
    MAX_WINDOW_BYTES,
    frame_head,
)
from onnxmesh.http2.protocol.header_blocks import ANSWER_HEADERS, OK_TRAILERS
from onnxmesh.http2.protocol.messages import PREFIX_BYTES
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.rpc.link.write_coalescer import WriteCoalescer

_JOINED_BYTES = 64 << 10
_ANSWER = Struct(f"!5sL{len(ANSWER_HEADERS)}sHBBBLBL")
_ANSWER_BEGIN = frame_head(HEADERS, END_HEADERS, 0, len(ANSWER_HEADERS))[:5]
_END = Struct(f"!5sL{len(OK_TRAILERS)}s")
_END_BEGIN = frame_head(HEADERS, END_HEADERS | END_STREAM, 0, len(OK_TRAILERS))[:5]


class SendQueue:
    """What a connection sends. Belongs to one event loop.

    Args:
        loop: Calls `flush` once everything that is ready now has been added.
        patience: Hears of data that go out.

    Attributes:
        on_sent: Is called with each stream whose end was sent.
        window: Bytes that the client takes of the whole connection now.
        max_frame_bytes: The longest frame that is sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, patience: AbuseGuard) -> None:
        self._loop = loop
        self._patience = patience
        self.on_sent: Callable[[SendStream], None] = lambda _: None
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes | memoryview] = []
        self._num_bytes = 0
        self._is_scheduled = False
        self._turn = WriteCoalescer(loop)
        self._waiting: dict[int, SendStream] = {}
        self._is_paused = False
        self.window = FIRST_WINDOW_BYTES
        self.max_frame_bytes = LEAST_MAX_FRAME_BYTES

    @property
    def is_paused(self) -> bool:
        """Whether the client does not read what was sent."""
        return self._is_paused

    @property
    def waits(self) -> bool:
        """Whether answers wait for the client."""
        return bool(self._waiting)

    def open(self, transport: asyncio.Transport) -> None:
        """What was added and is added goes there."""
        self._transport = transport
        self.flush()

    def close(self) -> None:
        """Nothing is sent any more."""
        self._transport = None
        self._parts.clear()
        self._waiting.clear()

    def write(self, part: bytes | memoryview) -> None:
        """Adds whole frames, or the next part of one."""
        self._parts.append(part)
        self._num_bytes += len(part)
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Hands everything over at once."""
        self._is_scheduled = False
        if self._transport is None or not self._parts:
            return
        parts, self._parts = self._parts, []
        if self._num_bytes < _JOINED_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)
        self._num_bytes = 0

    def answer(self, stream: SendStream, message: bytes) -> None:
        """Sends the one message of a call that ended well: headers, message, trailers.

        At once where answers come one by one, else with all others of this turn of the loop.
        """
        size = PREFIX_BYTES + len(message)
        if (
            size > self.max_frame_bytes
            or size > self.window
            or size > stream.window
            or self._is_paused
            or stream.is_begun
        ):
            self.begin(stream, ANSWER_HEADERS)
            stream.add(message)
            self.end(stream, OK_TRAILERS)
            return
        self.window -= size
        self._patience.takes()
        number = stream.stream
        head = _ANSWER.pack(
            _ANSWER_BEGIN, number, ANSWER_HEADERS, size >> 8, size & 0xFF, DATA, 0, number, 0, len(message)
        )
        self._parts += (head, message, _END.pack(_END_BEGIN, number, OK_TRAILERS))
        self._num_bytes += size
        self._turn.came(self.flush)
        stream.is_sent = True
        self.on_sent(stream)

    def begin(self, stream: SendStream, block: bytes) -> None:
        """Sends the headers of an answer, unless that was done."""
        if not stream.is_begun:
            stream.is_begun = True
            self._headers(stream, block, END_HEADERS)

    def send(self, stream: SendStream, message: bytes) -> None:
        """Sends one message of several, as soon as the client takes it."""
        stream.add(message)
        self._pump(stream)

    def end(self, stream: SendStream, block: bytes) -> None:
        """Sends trailers once all messages were."""
        stream.trailers = block
        self._pump(stream)

    def refuse(self, stream: SendStream, block: bytes) -> None:
        """Sends an answer that is headers alone."""
        stream.is_sent = True
        self._headers(stream, block, END_HEADERS | END_STREAM)
        self.on_sent(stream)

    def clear(self, stream: SendStream) -> None:
        """Drops what a stream has yet to send."""
        self._waiting.pop(stream.stream, None)
        stream.clear()

    def forget(self, stream: SendStream) -> None:
        """Nobody waits for what a stream has yet to send, nor for its end."""
        self.clear(stream)
        stream.is_sent = True

    def widen(self, num_bytes: int) -> None:
        """The client takes more of the whole connection.

        Raises:
            ConnectionFault: Nothing more, or more than a window may have.
        """
        self.window += num_bytes
        if not num_bytes:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a window grows by nothing")
        if self.window > MAX_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window of the connection is too wide")
        self._pump_all()

    def widened(self, stream: SendStream) -> None:
        """The client takes more of one stream."""
        if stream.stream in self._waiting:
            self._pump(stream)

    def pause(self) -> None:
        """The client does not read."""
        self._is_paused = True

    def resume(self) -> None:
        """The client reads again."""
        self._is_paused = False
        self._pump_all()

    def _headers(self, stream: SendStream, block: bytes, flags: int) -> None:
        # Metadata of ours never takes more than a frame, but what is passed on may.
        first, rest = block[:LEAST_MAX_FRAME_BYTES], block[LEAST_MAX_FRAME_BYTES:]
        if rest:
            flags &= ~END_HEADERS
        self.write(frame_head(HEADERS, flags, stream.stream, len(first)) + first)
        while rest:
            first, rest = rest[:LEAST_MAX_FRAME_BYTES], rest[LEAST_MAX_FRAME_BYTES:]
            flags = 0 if rest else END_HEADERS
            self.write(frame_head(CONTINUATION, flags, stream.stream, len(first)) + first)

    def _pump(self, stream: SendStream) -> None:
        while self._frame(stream):
            pass

    def _pump_all(self) -> None:
        """Sends what the windows allow, a frame of each stream in turn."""
        moves = True
        while moves:
            moves = False
            for stream in tuple(self._waiting.values()):
                if self.window <= 0 or self._is_paused:
                    return
                if self._frame(stream):
                    moves = True
                    if self._waiting.pop(stream.stream, None) is not None:
                        self._waiting[stream.stream] = stream  # behind the others

    def _frame(self, stream: SendStream) -> bool:
        """Sends the next frame of a stream; says whether there may be another."""
        left = stream.num_bytes
        if left:
            size = min(left, stream.window, self.window, self.max_frame_bytes)
            if size <= 0 or self._is_paused:
                self._waiting[stream.stream] = stream
                return False
            stream.window -= size
            self.window -= size
            self._patience.takes()
            self.write(frame_head(DATA, 0, stream.stream, size))
            for piece in stream.take(size):
                self.write(piece)
            return True
        self._waiting.pop(stream.stream, None)
        if stream.trailers is not None and not stream.is_sent:
            stream.is_sent = True
            self._headers(stream, stream.trailers, END_HEADERS | END_STREAM)
            self.on_sent(stream)
        return False

"""Connections, against clients that send anything in any order."""

from __future__ import annotations

import asyncio

import grpc
import hyperframe.frame as oracle
from hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.frames import (
    FRAME_HEADER_BYTES,
    PREFACE,
    FrameType,
    frame,
    settings_frame,
    uint32,
)
from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits
from onnxmesh.http2.protocol.stream_state import StreamState
from onnxmesh.http2.server.connection import Http2Connection
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.service import Service

LIMITS = ConnectionLimits(
    max_message_bytes=2_000,
    max_calls=4,
    stream_window_bytes=3_000,
    connection_window_bytes=70_000,
    max_headers_bytes=2_000,
    abuse=AbuseLimits(max_idle_frames=50, max_long_headers_bytes=30_000),
)


class FakeTransport:
    """Keeps what is written; the test itself closes the connection."""

    def __init__(self):
        self.written = b""
        self.closing = False
        self.has_eof = False

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.has_eof = True

    def get_extra_info(self, _):
        return "test", 1

    def set_write_buffer_limits(self, high):
        pass

    def write(self, data):
        self.written += data

    def writelines(self, parts):
        self.written += b"".join(parts)

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    abort = close


class Handlers:
    """An echo, a handler that waits for an event, and an echo of streams."""

    def __init__(self):
        self.go_on = asyncio.Event()
        self.num_running = 0

    async def hold(self, message, _):
        self.num_running += 1
        try:
            await self.go_on.wait()
        finally:
            self.num_running -= 1
        return message * 3

    async def echo(self, message, _):
        return message

    async def stream(self, call):
        self.num_running += 1
        try:
            while (message := await call.receive()) is not None:
                await call.send(message)
            call.end(grpc.StatusCode.OK)
        finally:
            self.num_running -= 1


streams = st.sampled_from([1, 3, 5, 7, 9])
steps = st.one_of(
    st.tuples(st.just("open"), streams, st.sampled_from(["/echo", "/hold", "/stream"]), st.booleans()),
    st.tuples(st.just("browse"), streams, st.booleans()),
    st.tuples(st.just("long headers"), streams, st.booleans(), st.sampled_from([1_900, 2_100, 9_000])),
    st.tuples(st.just("data"), streams, st.integers(0, 3_000), st.booleans()),
    st.tuples(st.just("raw data"), streams, st.binary(max_size=20), st.booleans()),
    st.tuples(st.just("reset"), streams),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 3, 5]), st.integers(0, 5_000)),
    st.tuples(st.just("initial window"), st.integers(0, 5_000)),
    st.tuples(st.just("ping")),
    st.tuples(
        st.just("any"), st.integers(0, 12), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=20)
    ),
    st.tuples(st.just("go on")),
    st.tuples(st.just("iterate")),
    st.tuples(st.just("pause")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("drain")),
)


def headers(encoder, stream, path, ended, *, method="POST", content_type="application/grpc", **more):
    fields = {":method": method, ":scheme": "http", ":path": path, "te": "trailers", **more}
    block = encoder.encode([*fields.items(), ("content-type", content_type)])
    return frame(FrameType.HEADERS, 4 | ended, stream, block)


def any_frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + uint32(stream) + payload


def wire(step, encoder):
    """The bytes of one step of a client."""
    what, *rest = step
    return {
        "open": lambda stream, path, ended: headers(encoder, stream, path, ended),
        "long headers": lambda stream, ended, size: headers(encoder, stream, "/echo", ended, long="~" * size),
        "browse": lambda stream, ended: headers(
            encoder, stream, "/", ended, method="GET", content_type="text/html"
        ),
        "data": lambda stream, size, ended: frame(
            FrameType.DATA, int(ended), stream, b"\0" + size.to_bytes(4, "big") + bytes(size)
        ),
        "raw data": lambda stream, payload, ended: frame(FrameType.DATA, int(ended), stream, payload),
        "reset": lambda stream: frame(FrameType.RST_STREAM, 0, stream, uint32(8)),
        "window": lambda stream, size: frame(FrameType.WINDOW_UPDATE, 0, stream, uint32(size)),
        "initial window": lambda size: settings_frame({4: size}),
        "ping": lambda: frame(FrameType.PING, 0, 0, b"12345678"),
        "any": any_frame,
    }[what](*rest)


class Client:
    """What a client received, and the windows that it allowed."""

    def __init__(self):
        self.connection_window = 65_535
        self.initial = 65_535
        self.windows = {}
        self.ended = set()

    def record_windows(self, step):
        """Records windows, before the server receives them."""
        if step[0] == "window" and step[1] == 0:
            self.connection_window += step[2]
        elif step[0] == "window":
            self.windows[step[1]] = self.windows.get(step[1], 0) + step[2]
        elif step[0] == "initial window":
            self.initial = max(self.initial, step[1])  # the widest that it ever was

    def receive(self, written):
        """Checks the server's bytes: whole frames, within the windows, nothing after the end of a stream."""
        while written:
            read, length = oracle.Frame.parse_frame_header(memoryview(written[:FRAME_HEADER_BYTES]))
            read.parse_body(memoryview(written[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + length]))
            assert FRAME_HEADER_BYTES + length <= len(written)
            written = written[FRAME_HEADER_BYTES + length :]
            stream = read.stream_id
            if isinstance(read, oracle.DataFrame | oracle.HeadersFrame):
                assert stream not in self.ended
            if isinstance(read, oracle.DataFrame):
                self.connection_window -= length
                self.windows[stream] = self.windows.get(stream, 0) - length
                assert self.connection_window >= 0
                assert self.initial + self.windows[stream] >= 0
            if "END_STREAM" in read.flags or isinstance(read, oracle.RstStreamFrame):
                self.ended.add(stream)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(steps, max_size=40), step_size=st.integers(1, 5_000))
def test_connection_survives_whatever_a_client_does(steps, step_size):
    """Nothing is raised, what is sent is valid and within the client's windows, and no call remains at the end."""

    async def play():
        handlers, transport, client, encoder = Handlers(), FakeTransport(), Client(), Encoder()
        service = Service(
            handlers={"/echo": handlers.echo, "/hold": handlers.hold},
            fallback=handlers.stream,
            decompressor=Decompressor(),
            limits=LIMITS,
        )
        closed = []
        connection = Http2Connection(service, lambda _: None, closed.append)
        connection.connection_made(transport)

        async def iterate():
            for _ in range(6):
                await asyncio.sleep(0)
            written, transport.written = transport.written, b""
            client.receive(written)

        connection.data_received(PREFACE + settings_frame({}))
        for step in steps:
            if transport.closing:
                break
            if step[0] == "go on":
                handlers.go_on.set()
            elif step[0] == "pause":
                connection.pause_writing()
            elif step[0] == "resume":
                connection.resume_writing()
            elif step[0] == "drain":
                connection.drain()
            elif step[0] == "iterate":
                await iterate()
            else:
                client.record_windows(step)
                data = wire(step, encoder)
                for begin in range(0, len(data), step_size):
                    connection.data_received(data[begin : begin + step_size])
        await iterate()
        assert len(connection._calls.by_id) <= LIMITS.max_calls
        connection.connection_lost(None)
        await iterate()
        assert closed == [connection]
        assert not connection._calls.by_id
        assert handlers.num_running == 0

    asyncio.run(play())


def test_connection_ends_with_internal_error_after_an_impossible_transition():
    """GOAWAY names the stream's state, and the log has it as an error: it is a defect of the server."""

    async def play():
        handlers, transport = Handlers(), FakeTransport()
        service = Service(
            handlers={}, fallback=handlers.stream, decompressor=Decompressor(), limits=ConnectionLimits()
        )
        closed = []
        connection = Http2Connection(service, lambda _: None, closed.append)
        connection.connection_made(transport)
        connection.data_received(PREFACE + settings_frame({}) + headers(Encoder(), 1, "/stream", ended=False))
        connection._calls.by_id[1].state = StreamState.IDLE
        await asyncio.sleep(0)
        with capture_logs() as logs:
            connection.data_received(frame(FrameType.DATA, 1, 1))
        (log,) = [each for each in logs if each["log_level"] == "error"]
        reason = "RECEIVE_END_STREAM is impossible on a stream that is IDLE"
        assert (log["event"], log["code"], log["error"]) == ("connection_refused", "INTERNAL_ERROR", reason)
        assert transport.written.endswith(uint32(1) + uint32(ErrorCode.INTERNAL_ERROR) + reason.encode())
        assert transport.closing
        connection.connection_lost(None)
        await asyncio.sleep(0)
        assert (closed, handlers.num_running) == ([connection], 0)

    asyncio.run(play())


def test_connection_answers_http1_once_and_drops_what_follows():
    """Frames of HTTP/2 are never sent to it, whatever happens to the connection meanwhile."""

    async def play():
        transport = FakeTransport()
        service = Service(
            handlers={},
            fallback=Handlers().stream,
            decompressor=Decompressor(),
            limits=ConnectionLimits(settle_s=60.0),
            spoken="It is {address}.",
        )
        closed = []
        connection = Http2Connection(service, lambda _: None, closed.append)
        connection.connection_made(transport)
        connection.data_received(b"GE")
        assert not transport.written
        connection.data_received(b"T / HTTP/1.1\r\n")
        connection.data_received(b"host: here\r\n\r\n" + PREFACE)
        connection.drain()
        for _ in range(3):
            await asyncio.sleep(0)
        assert transport.written.startswith(b"HTTP/1.1 505 ")
        assert transport.written.endswith(b"\r\n\r\nHTTP/1 is not spoken here. It is test:1.\n")
        assert (transport.has_eof, transport.closing) == (True, False)
        connection.abort("stopped")
        assert transport.closing
        connection.connection_lost(None)
        assert closed == [connection]

    asyncio.run(play())

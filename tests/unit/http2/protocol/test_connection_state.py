"""Protocol state of one connection: frames in, events out."""

from __future__ import annotations

import pytest
from hpack import Encoder

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.connection_state import ConnectionState, DrainState
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, StreamFault
from onnxmesh.http2.protocol.frames import ACK, PREFACE, FrameType, frame, settings_frame, uint32
from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits
from onnxmesh.http2.protocol.send_queue import SendQueue
from tests.unit.http2.protocol.outputs import RecordingOutput

BLOCK = b"\x83\x86\x44\x04/a/b\x40\x02te\x08trailers\x5f\x10application/grpc"
HEADERS = FrameType.HEADERS
END_STREAM, END_HEADERS = 1, 4
BEGIN = PREFACE + settings_frame({})
LIMITS = ConnectionLimits(
    abuse=AbuseLimits(max_idle_frames=5, max_unread_replies=2, max_long_headers_bytes=200_000), max_calls=7
)


class Client:
    """A session, what it has reported, and what it has written."""

    def __init__(self, begin=BEGIN):
        self.events = []
        self.heads = []
        self.open = {1, 3, 5, 7}
        self.output = RecordingOutput()
        guard = AbuseGuard(LIMITS.abuse)
        self.queue = SendQueue(self.output, guard)
        self.session = ConnectionState(
            LIMITS, self.output, self.queue, abuse_guard=guard, streams=self, shutdown=self
        )
        self.session.receive(begin)
        self.written()
        self.events.clear()

    def send(self, kind, flags=0, stream_id=0, payload=b""):
        """Sends one frame; returns the events that it made."""
        self.session.receive(frame(kind, flags, stream_id, payload))
        events, self.events = self.events, []
        return events

    def fault(self, kind, flags=0, stream_id=0, payload=b""):
        """Sends one frame that ends the connection; returns the code of the error."""
        with pytest.raises(ConnectionFault) as fault:
            self.send(kind, flags, stream_id, payload)
        assert not self.events
        return fault.value.code

    def written(self):
        """Returns the names of the frames that were written."""
        return [type(each).__name__ for each in self.output.frames()]

    def request_received(self, stream_id, head, *, end_stream):
        self.heads.append(head)
        self.events.append(("request", stream_id, head.path, end_stream))

    def data_received(self, stream_id, payload, num_bytes, *, end_stream):
        self.events.append(("data", stream_id, bytes(payload), num_bytes, end_stream))
        return stream_id in self.open

    def trailers_received(self, stream_id):
        self.events.append(("trailers", stream_id))

    def reset_received(self, stream_id):
        self.events.append(("reset", stream_id))

    def window_update_received(self, stream_id, increment):
        self.events.append(("window", stream_id, increment))
        if not increment:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "nothing")

    def initial_window_received(self, window):
        self.events.append(("initial window", window))

    def stream_failed(self, stream_id, fault):
        self.events.append(("failed", stream_id, fault.code))

    def goaway_received(self):
        self.events.append("goaway")

    def drain_acknowledged(self):
        self.events.append("drain acknowledged")


def test_session_announces_its_limits():
    """In SETTINGS, and in WINDOW_UPDATE of the connection's window."""
    client = Client(begin=b"")
    client.session.receive(PREFACE[:-1])
    assert client.written() == []  # a client of another protocol gets an answer of its own
    client.session.receive(PREFACE[-1:])
    client.session.receive(settings_frame({}))
    settings, window, _ = client.output.frames()
    assert settings.settings == {3: 7, 4: 4 << 20, 5: 1 << 20, 6: 64 << 10}
    assert (window.stream_id, window.window_increment) == (0, (16 << 20) - 65_535)


def test_session_reports_a_request():
    """Head, data with what it takes of the windows, and the end, on whichever frame it is."""
    client = Client()
    assert client.send(HEADERS, END_HEADERS, 1, BLOCK) == [("request", 1, "/a/b", False)]
    assert client.send(FrameType.DATA, 8, 1, b"\x02ab\0\0") == [("data", 1, b"ab", 5, False)]
    assert client.send(FrameType.DATA, END_STREAM, 1, b"c") == [("data", 1, b"c", 1, True)]
    assert client.send(HEADERS, END_STREAM | END_HEADERS, 5, BLOCK) == [("request", 5, "/a/b", True)]
    assert client.session.last_stream_id == 5
    assert client.send(HEADERS, END_STREAM | END_HEADERS, 1, b"") == [("trailers", 1)]
    assert client.written() == []


def test_session_assembles_a_header_block_of_several_frames():
    """No event before its last frame; END_STREAM is that of HEADERS."""
    client = Client()
    assert client.send(HEADERS, END_STREAM, 1, BLOCK[:5]) == []
    assert client.send(FrameType.CONTINUATION, END_HEADERS, 1, BLOCK[5:]) == [("request", 1, "/a/b", True)]


def test_session_accepts_the_last_stream_that_http2_has():
    """Its identifier is that of the first GOAWAY, too."""
    client = Client()
    client.session.announce_drain()
    assert client.send(HEADERS, END_HEADERS, 2**31 - 1, BLOCK) == [("request", 2**31 - 1, "/a/b", False)]


def test_session_decodes_every_header_block_in_order():
    """Trailers, and requests that are ignored, may add to the dynamic table that later requests refer to."""
    client, encoder = Client(), Encoder()
    request = [(":method", "POST"), (":scheme", "http")]
    client.send(HEADERS, END_HEADERS, 1, encoder.encode([*request, (":path", "/one")]))
    client.send(HEADERS, END_STREAM | END_HEADERS, 1, encoder.encode([("x-a", "1")]))
    client.send(HEADERS, END_HEADERS, 3, encoder.encode([*request, (":path", "/two")]))
    block = encoder.encode([*request, (":path", "/two")])
    assert len(block) < 10
    assert client.send(HEADERS, END_HEADERS, 5, block) == [("request", 5, "/two", False)]
    client.session.finish_drain()
    assert client.send(HEADERS, END_HEADERS, 7, encoder.encode([*request, (":path", "/three")])) == []
    client.session._last_accepted_id = 9
    block = encoder.encode([*request, (":path", "/three")])
    assert len(block) < 10
    assert client.send(HEADERS, END_HEADERS, 9, block) == [("request", 9, "/three", False)]


def test_session_refuses_a_request_with_long_headers_alone():
    """Its stream and its flags are reported, the table is as the client has it, and so are later requests; not too often in a row."""
    client, encoder = Client(), Encoder()
    request = [(":method", "POST"), (":scheme", "http"), (":path", "/a/b")]
    for stream_id in (1, 3):
        block = encoder.encode([*request, ("x-long", "y" * 70_000), ("x-last", str(stream_id))])
        assert client.send(HEADERS, END_HEADERS, stream_id, block) == [("request", stream_id, "/a/b", False)]
        assert client.heads[-1].is_too_long
    block = encoder.encode([*request, ("x-last", "3")])
    assert len(block) < 10
    client.send(HEADERS, END_HEADERS, 5, block)
    assert client.heads[-1].metadata == (("x-last", "3"),)
    trailers = encoder.encode([("x-long", "y" * 70_000)])
    assert client.send(HEADERS, END_HEADERS | END_STREAM, 5, trailers) == [
        ("failed", 5, ErrorCode.ENHANCE_YOUR_CALM)
    ]
    block = encoder.encode([*request, ("x-long", "y" * 70_000)])
    assert client.fault(HEADERS, END_HEADERS, 7, block) is ErrorCode.ENHANCE_YOUR_CALM


def test_session_expects_settings_before_requests():
    """`has_peer_settings` says whether they were received."""
    client = Client(PREFACE)
    assert not client.session.has_peer_settings
    assert client.fault(HEADERS, END_HEADERS, 1, BLOCK) is ErrorCode.PROTOCOL_ERROR
    assert Client().session.has_peer_settings


def test_session_applies_settings_after_it_acknowledged_them():
    """The client assumes its old settings until then."""
    client = Client()
    acknowledged = []
    client.initial_window_received = lambda _: acknowledged.extend(client.written())
    client.session.receive(settings_frame({4: 1_000, 5: 20_000}))
    assert acknowledged == ["SettingsFrame"]
    assert client.queue.max_frame_bytes == 20_000
    assert client.send(FrameType.SETTINGS, ACK) == []
    assert client.written() == []


def test_session_answers_pings():
    """With their payload, once; an acknowledgement is not answered."""
    client = Client()
    client.send(FrameType.PING, 0, 0, b"12345678")
    (pong,) = client.output.frames()
    assert (pong.opaque_data, set(pong.flags)) == (b"12345678", {"ACK"})
    assert client.send(FrameType.PING, ACK, 0, b"12345678") == []
    assert client.written() == []


def test_session_reports_resets_and_windows_of_streams_that_were_opened():
    """The increment is without the reserved bit; that of the connection goes to the send queue."""
    client = Client()
    client.send(HEADERS, END_HEADERS, 3, BLOCK)
    for stream_id in (1, 3):
        assert client.send(FrameType.RST_STREAM, 0, stream_id, uint32(8)) == [("reset", stream_id)]
        assert client.send(FrameType.WINDOW_UPDATE, 0, stream_id, uint32(1 << 31 | 9)) == [
            ("window", stream_id, 9)
        ]
    client.session._abuse_guard.record_progress()
    assert client.send(FrameType.WINDOW_UPDATE, 0, 0, uint32(1 << 31 | 9)) == []
    assert client.queue.window == 65_535 + 9


@pytest.mark.parametrize("stream_id", [0, 2, 5])
def test_session_refuses_frames_of_idle_streams(stream_id):
    """Of stream 0, of the server's own, and of those that the client has not opened."""
    client = Client()
    client.open.clear()
    client.send(HEADERS, END_HEADERS, 3, BLOCK)
    assert client.fault(FrameType.RST_STREAM, 0, stream_id, uint32(8)) is ErrorCode.PROTOCOL_ERROR
    if stream_id:
        assert client.fault(FrameType.WINDOW_UPDATE, 0, stream_id, uint32(1)) is ErrorCode.PROTOCOL_ERROR
    with pytest.raises(ConnectionFault) as fault:
        client.send(FrameType.DATA, 0, stream_id, b"a")
    assert fault.value.code is ErrorCode.PROTOCOL_ERROR


def test_session_reports_stream_errors_and_goes_on():
    """Of its own checks, and of those of the streams."""
    client = Client()
    client.send(HEADERS, END_HEADERS, 1, BLOCK)
    assert client.send(FrameType.PRIORITY, 0, 1, b"abcd") == [("failed", 1, ErrorCode.FRAME_SIZE_ERROR)]
    assert client.send(FrameType.PRIORITY, 0, 1, b"abcde") == []
    events = client.send(FrameType.WINDOW_UPDATE, 0, 1, uint32(0))
    assert events == [("window", 1, 0), ("failed", 1, ErrorCode.PROTOCOL_ERROR)]
    malformed = client.send(HEADERS, END_HEADERS, 5, b"\x83")
    assert malformed == [("failed", 5, ErrorCode.PROTOCOL_ERROR)]


IDLE_FRAMES = {
    "ping": (FrameType.PING, ACK, 0, b"12345678"),
    "unknown": (0xBB, 0, 0, b""),
    "priority": (FrameType.PRIORITY, 0, 1, bytes(5)),
    "window": (FrameType.WINDOW_UPDATE, 0, 0, uint32(1)),
    "late data": (FrameType.DATA, 0, 3, b"a"),
    "trailers": (HEADERS, END_STREAM | END_HEADERS, 1, b""),
}


@pytest.mark.parametrize("what", IDLE_FRAMES)
def test_session_counts_idle_frames(what):
    """Exactly the limit is allowed. SETTINGS of the beginning were one."""
    client = Client()
    client.open.clear()
    client.send(HEADERS, END_HEADERS, 3, BLOCK)
    for _ in range(4):
        client.send(*IDLE_FRAMES[what])
    with pytest.raises(ConnectionFault) as fault:
        client.send(*IDLE_FRAMES[what])
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(
    "what",
    [
        (FrameType.PING, 0, 0, b"12345678"),
        (FrameType.SETTINGS, 0, 0, b""),
        (FrameType.PRIORITY, 0, 1, b""),
    ],
    ids=["ping", "settings", "stream error"],
)
def test_session_counts_replies_while_the_client_does_not_read(what):
    """Exactly the limit may wait; none is counted while it reads."""
    client = Client()
    client.send(*what)
    client.queue.pause()
    for _ in range(2):
        client.send(*what)
    with pytest.raises(ConnectionFault, match="not read") as fault:
        client.send(*what)
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


FAULTS = {
    "a second opening": (HEADERS, END_HEADERS, 1, BLOCK, ErrorCode.PROTOCOL_ERROR),
    "push": (FrameType.PUSH_PROMISE, END_HEADERS, 1, bytes(4), ErrorCode.PROTOCOL_ERROR),
    "continuation of nothing": (FrameType.CONTINUATION, END_HEADERS, 1, b"", ErrorCode.PROTOCOL_ERROR),
    "priority of no stream": (FrameType.PRIORITY, 0, 0, bytes(5), ErrorCode.PROTOCOL_ERROR),
    "ping of a stream": (FrameType.PING, 0, 1, bytes(8), ErrorCode.PROTOCOL_ERROR),
    "settings of a stream": (FrameType.SETTINGS, 0, 1, b"", ErrorCode.PROTOCOL_ERROR),
    "goaway of a stream": (FrameType.GOAWAY, 0, 1, bytes(8), ErrorCode.PROTOCOL_ERROR),
    "short ping": (FrameType.PING, 0, 0, bytes(7), ErrorCode.FRAME_SIZE_ERROR),
    "long ping": (FrameType.PING, ACK, 0, bytes(9), ErrorCode.FRAME_SIZE_ERROR),
    "acknowledged settings": (FrameType.SETTINGS, ACK, 0, bytes(6), ErrorCode.FRAME_SIZE_ERROR),
    "short reset": (FrameType.RST_STREAM, 0, 1, bytes(3), ErrorCode.FRAME_SIZE_ERROR),
    "long window": (FrameType.WINDOW_UPDATE, 0, 0, bytes(5), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("what", FAULTS)
def test_session_refuses_frames_that_no_client_may_send(what):
    """With the code that HTTP/2 has for each."""
    client = Client()
    client.send(HEADERS, END_HEADERS, 1, BLOCK)
    *sent, code = FAULTS[what]
    assert client.fault(*sent) is code
    assert client.written() == []


def test_session_drains_by_two_goaways():
    """Requests are accepted between them; after the second they are ignored, but their headers are still decoded."""
    client = Client()
    client.send(HEADERS, END_HEADERS, 1, BLOCK)
    assert client.session.drain_state is DrainState.SERVING
    for _ in range(2):
        client.session.announce_drain()
    goaway, ping = client.output.frames()
    assert (goaway.last_stream_id, goaway.error_code) == (2**31 - 1, 0)
    assert (ping.opaque_data, set(ping.flags)) == (b"draining", set())
    assert client.session.drain_state is DrainState.ANNOUNCED
    assert client.send(HEADERS, END_HEADERS, 3, BLOCK) == [("request", 3, "/a/b", False)]
    assert client.send(FrameType.PING, ACK, 0, b"12345678") == []
    assert client.send(FrameType.PING, ACK, 0, b"draining") == ["drain acknowledged"]
    for _ in range(2):
        client.session.finish_drain()
    (goaway,) = client.output.frames()
    assert (goaway.last_stream_id, goaway.error_code) == (3, 0)
    assert client.session.drain_state is DrainState.FINAL
    assert client.send(FrameType.PING, ACK, 0, b"draining") == []
    client.session.announce_drain()
    assert client.written() == []
    assert client.send(HEADERS, END_HEADERS, 5, BLOCK) == []
    # What stream 5 would have opened may be reset.
    assert client.send(FrameType.RST_STREAM, 0, 5, uint32(8)) == [("reset", 5)]


def test_session_ignores_the_acknowledgement_of_a_drain_that_was_not_announced():
    """A client may send any PING with ACK."""
    assert Client().send(FrameType.PING, ACK, 0, b"draining") == []


def test_session_reports_goaway():
    """Of the client, which sends no more requests."""
    assert Client().send(FrameType.GOAWAY, 0, 0, bytes(8)) == ["goaway"]


def test_send_goaway_names_the_last_stream_the_code_and_the_reason():
    """For a connection that ends at once."""
    client = Client()
    client.send(HEADERS, END_HEADERS, 3, BLOCK)
    client.session.send_goaway(ErrorCode.ENHANCE_YOUR_CALM, "too much")
    (goaway,) = client.output.frames()
    assert (goaway.last_stream_id, goaway.error_code, goaway.additional_data) == (3, 11, b"too much")


@pytest.mark.parametrize("begin", [b"", BEGIN])
def test_session_sends_its_preface_before_any_other_frame_and_once(begin):
    """Also when the connection ends before the client has sent anything."""
    client = Client(begin=b"")
    client.session.receive(begin)
    client.session.announce_drain()
    client.session.send_goaway(ErrorCode.NO_ERROR, "")
    names = client.written()
    assert names[:2] == ["SettingsFrame", "WindowUpdateFrame"]
    assert names.count("WindowUpdateFrame") == 1
    assert names[-3:] == ["GoAwayFrame", "PingFrame", "GoAwayFrame"]

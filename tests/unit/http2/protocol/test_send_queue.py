"""Responses, cut into frames within the client's windows."""

from __future__ import annotations

import hyperframe.frame as oracle
import pytest

from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.header_blocks import GZIP_HEADERS, OK_TRAILERS, RESPONSE_HEADERS
from onnxmesh.http2.protocol.limits import AbuseLimits
from onnxmesh.http2.protocol.send_queue import SendQueue
from onnxmesh.http2.protocol.send_stream import SendStream
from onnxmesh.http2.protocol.stream_state import ImpossibleTransition, StreamState
from tests.unit.http2.protocol.outputs import RecordingOutput

WINDOW = 65_535
FRAME = 16_384


class Sending:
    """A send queue, what it has written, and the streams that ended."""

    def __init__(self, max_idle_frames=10):
        self.output = RecordingOutput()
        self.guard = AbuseGuard(AbuseLimits(max_idle_frames=max_idle_frames))
        self.queue = SendQueue(self.output, self.guard)
        self.ended = []
        self.queue.on_end_stream = lambda stream: self.ended.append(stream.stream_id)

    def frames(self):
        """Stream, type, size of DATA or header block, and whether it has END_STREAM, of each frame."""
        return [
            (each.stream_id, type(each).__name__[:4], len(each.data), "END_STREAM" in each.flags)
            for each in self.output.frames()
        ]


def stream(stream_id=1, window=1 << 20, state=StreamState.HALF_CLOSED_REMOTE):
    return SendStream(stream_id, window, state)


def headers(stream_id=1):
    return (stream_id, "Head", len(RESPONSE_HEADERS), False)


def trailers(stream_id=1):
    return (stream_id, "Head", len(OK_TRAILERS), True)


@pytest.mark.parametrize("size", [0, 1, FRAME - 5])
def test_send_response_is_three_frames_if_it_fits(size):
    """Headers, message and trailers, with the bytes that the constants stand for; the windows shrink by the message."""
    sending, one = Sending(), stream()
    sending.queue.send_response(one, b"x" * size)
    first, data, last = sending.output.frames()
    assert (first.data, data.data, last.data) == (
        RESPONSE_HEADERS,
        b"\0" + size.to_bytes(4, "big") + b"x" * size,
        OK_TRAILERS,
    )
    assert [frame.stream_id for frame in (first, data, last)] == [1, 1, 1]
    assert [set(frame.flags) for frame in (first, data, last)] == [
        {"END_HEADERS"},
        set(),
        {"END_HEADERS", "END_STREAM"},
    ]
    assert one.state is StreamState.CLOSED
    assert (sending.ended, sending.queue.window, one.window) == ([1], WINDOW - 5 - size, 1 << 20)
    assert not sending.queue.is_blocked


def test_send_response_over_the_frame_size_is_cut():
    """Into frames of the largest size that the client accepts."""
    sending = Sending()
    sending.queue.send_response(stream(), bytes(FRAME - 4))
    assert sending.frames() == [headers(), (1, "Data", FRAME, False), (1, "Data", 1, False), trailers()]
    assert sending.queue.window == WINDOW - FRAME - 1


def test_send_response_waits_for_the_window_of_its_stream():
    """What the window allows is sent; the rest follows, and END_STREAM last."""
    sending, one = Sending(), stream(window=10)
    sending.queue.send_response(one, bytes(20))
    assert sending.frames() == [headers(), (1, "Data", 10, False)]
    assert (one.state, sending.ended, sending.queue.is_blocked) == (StreamState.HALF_CLOSED_REMOTE, [], True)
    one.window += 15
    sending.queue.stream_window_changed(one)
    assert sending.frames() == [(1, "Data", 15, False), trailers()]
    assert (one.state, sending.ended, sending.queue.is_blocked) == (StreamState.CLOSED, [1], False)


def test_send_response_waits_for_the_window_of_the_connection():
    """Exactly what it allows is sent; other responses wait as well, and take turns frame by frame afterwards."""
    sending = Sending()
    sending.queue.window = 3
    one, other = stream(1), stream(3)
    for each in (one, other):
        sending.queue.send_response(each, bytes(FRAME))
    assert sending.frames() == [headers(1), (1, "Data", 3, False), headers(3)]
    assert sending.queue.window == 0
    sending.queue.increment_window(2 * FRAME)
    assert sending.frames() == [(1, "Data", FRAME, False), (3, "Data", FRAME, False)]
    sending.queue.increment_window(100)
    assert sending.frames() == [(1, "Data", 2, False), (3, "Data", 5, False), trailers(1), trailers(3)]
    assert sending.queue.window == 100 - 7
    assert sending.ended == [1, 3]


def test_send_queue_that_is_paused_sends_no_data():
    """Windows that grow meanwhile change nothing; all of it follows on `resume`."""
    sending, one = Sending(), stream()
    sending.queue.pause()
    assert sending.queue.is_paused
    sending.queue.send_response(one, b"a")
    sending.queue.increment_window(1)
    one.window += 1
    sending.queue.stream_window_changed(one)
    assert sending.frames() == [headers()]
    sending.queue.resume()
    assert not sending.queue.is_paused
    assert sending.frames() == [(1, "Data", 6, False), trailers()]


def test_send_message_streams_messages_before_trailers():
    """Headers once, however often they are sent; END_STREAM with the trailers alone."""
    sending, one = Sending(), stream()
    for message in (b"a", b"bc"):
        sending.queue.send_headers(one, RESPONSE_HEADERS)
        sending.queue.send_message(one, message)
    sending.queue.send_trailers(one, OK_TRAILERS)
    assert sending.frames() == [headers(), (1, "Data", 6, False), (1, "Data", 7, False), trailers()]


def test_send_response_follows_headers_that_were_sent():
    """They are not sent twice."""
    sending, one = Sending(), stream()
    sending.queue.send_headers(one, RESPONSE_HEADERS + b"\0\1a\1b")
    sending.queue.send_response(one, b"")
    assert sending.frames() == [
        (1, "Head", len(RESPONSE_HEADERS) + 5, False),
        (1, "Data", 5, False),
        trailers(),
    ]


def test_send_trailers_only_is_one_frame():
    """It ends an open stream on the server's side alone."""
    sending, one = Sending(), stream(state=StreamState.OPEN)
    sending.queue.send_trailers_only(one, OK_TRAILERS)
    assert sending.frames() == [trailers()]
    assert (one.state, sending.ended) == (StreamState.HALF_CLOSED_LOCAL, [1])


@pytest.mark.parametrize("size", [FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME])
def test_header_blocks_over_the_frame_size_continue(size):
    """In CONTINUATION frames; END_HEADERS on the last one, END_STREAM on HEADERS."""
    sending = Sending()
    sending.queue.send_trailers_only(stream(), b"h" * size)
    first, *rest = sending.output.frames()
    assert "END_STREAM" in first.flags
    assert all(isinstance(each, oracle.ContinuationFrame) for each in rest)
    assert [len(each.data) for each in (first, *rest)] == [
        min(FRAME, size - begin) for begin in range(0, size, FRAME)
    ]
    assert ["END_HEADERS" in each.flags for each in (first, *rest)] == [False] * len(rest) + [True]


def test_discard_removes_a_stream_that_waits():
    """Nothing of it is sent any more, while others are; `close` removes all."""
    sending, one, other = Sending(), stream(1, window=0), stream(3, window=0)
    for each in (one, other):
        sending.queue.send_response(each, b"a")
    sending.queue.discard(one)
    assert (one.queued_bytes, one.trailers, sending.queue.is_blocked) == (0, None, True)
    for each in (one, other):
        each.window = 100
        sending.queue.stream_window_changed(each)
    assert sending.frames() == [headers(1), headers(3), (3, "Data", 6, False), trailers(3)]
    sending.queue.send_response(stream(5, window=0), b"a")
    sending.queue.close()
    assert not sending.queue.is_blocked


def test_sent_data_is_progress_for_the_abuse_guard():
    """Whether a response fits at once or waits for its window."""
    sending, one = Sending(max_idle_frames=1), stream(window=5)
    for send in (
        lambda: sending.queue.send_response(stream(3), b""),
        lambda: sending.queue.send_response(one, b"a"),
    ):
        sending.guard.count_idle_frame()
        send()
    sending.guard.count_idle_frame()
    with pytest.raises(ConnectionFault):
        sending.guard.count_idle_frame()


def test_increment_window_refuses_what_http2_does_not_allow():
    """An increment of 0, and a window over 2³¹ - 1; exactly that is allowed."""
    sending = Sending()
    with pytest.raises(ConnectionFault) as fault:
        sending.queue.increment_window(0)
    assert fault.value.code is ErrorCode.PROTOCOL_ERROR
    sending.queue.increment_window(2**31 - 1 - WINDOW)
    with pytest.raises(ConnectionFault) as fault:
        sending.queue.increment_window(1)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize("send", ["send_response", "send_trailers_only", "send_trailers"])
def test_send_queue_refuses_to_end_a_closed_stream(send):
    """An internal error names its state."""
    sending, one = Sending(), stream(state=StreamState.CLOSED)
    with pytest.raises(ImpossibleTransition, match=r"SEND_END_STREAM .* CLOSED"):
        getattr(sending.queue, send)(one, b"")
    assert sending.ended == []


def test_send_gzip_response_has_its_encoding_and_the_flag_of_its_message():
    """In frames of any number, as the windows allow."""
    sending, one = Sending(), stream()
    sending.queue.send_gzip_response(one, b"x" * 3)
    first, data, last = sending.output.frames()
    assert (first.data, data.data, last.data) == (GZIP_HEADERS, b"\1\0\0\0\3xxx", OK_TRAILERS)
    assert sending.ended == [1]


@pytest.mark.parametrize(("window", "has_body"), [(10, True), (9, False), (0, False)])
def test_send_http_response_has_its_body_if_the_window_allows(window, has_body):
    """A client that lets nothing through gets the status alone, and nothing waits for it."""
    sending, one = Sending(), stream(window=window)
    sending.queue.send_http_response(one, b"\x88", b"a sentence")
    body = [(1, "Data", 10, True)] if has_body else []
    assert sending.frames() == [(1, "Head", 1, not has_body), *body]
    assert (one.window, sending.queue.window) == (window - 10 * has_body, WINDOW - 10 * has_body)
    assert (sending.ended, sending.queue.is_blocked) == ([1], False)

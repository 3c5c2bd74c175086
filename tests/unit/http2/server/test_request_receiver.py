"""Requests of one connection as they are received."""

from __future__ import annotations

import pytest

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, GrpcStatus, StreamFault
from onnxmesh.http2.protocol.messages import message_prefix
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.stream_state import ImpossibleTransition, StreamState
from tests.unit.http2.server.running_calls import HEAD, Running, iterate


@pytest.mark.parametrize(
    ("message", "has_ended", "text"),
    [
        (None, True, b"got none"),
        (b"\0\0\0", True, b"amid a message"),
        (2 * message_prefix(0), False, b"got two"),
    ],
)
async def test_unary_requests_with_other_than_one_message_are_refused(message, has_ended, text):
    """As INTERNAL, and no handler runs."""
    running = Running()
    running.receiver.request_received(1, HEAD, end_stream=message is None)
    if message is not None:
        running.data(1, message, end_stream=has_ended)
    (_, _, block), *reset = running.written()
    assert b"grpc-status\x0213" in block
    assert text in block
    assert reset == ([] if has_ended else [(1, "RstStream", ErrorCode.NO_ERROR)])
    assert (len(running.calls.by_id), running.requests) == (0, [])


async def test_requests_that_cannot_be_served_end_at_once():
    """With the HTTP status and a sentence, which none to HEAD has, or with the gRPC status of their head."""
    running = Running()
    running.receiver.request_received(1, RequestHead("/unary", http_status=415), end_stream=True)
    (_, _, block), (_, name, body) = running.written()
    assert b"415" in block
    assert (name, body.endswith(b"speaks gRPC over HTTP/2 without TLS: use a client of gRPC.\n")) == (
        "Data",
        True,
    )
    for head, expected in (
        (RequestHead("/unary", http_status=415, takes_body=False), b"415"),
        (RequestHead("/unary", refusal=(GrpcStatus.UNIMPLEMENTED, "no path")), b"no path"),
        (RequestHead.too_long([(b"content-type", b"application/grpc")], 100), b"more than 100 bytes"),
    ):
        running.receiver.request_received(1, head, end_stream=True)
        assert expected in running.status()
    assert (len(running.calls.by_id), running.num_removed) == (0, 4)


async def test_calls_over_the_limit_are_refused():
    """As REFUSED_STREAM; a call counts until its handler has ended, and too many refusals end the connection."""
    running = Running()
    for stream_id in (1, 3):
        running.request(stream_id, b"hold")
    await iterate()
    running.calls.abort("stopping")
    assert len(running.calls.by_id) == 2
    for _ in range(2):
        with pytest.raises(StreamFault) as refused:
            running.receiver.request_received(5, HEAD, end_stream=False)
        assert refused.value.code is ErrorCode.REFUSED_STREAM
    with pytest.raises(ConnectionFault) as fault:
        running.receiver.request_received(5, HEAD, end_stream=False)
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM
    await iterate()
    assert (len(running.calls.by_id), running.num_cancelled) == (0, 2)
    running.request(5)


async def test_data_over_a_window_is_refused():
    """Exactly the window is allowed: of the stream, and of the connection."""
    running = Running()
    for stream_id in (1, 3):
        running.receiver.request_received(stream_id, RequestHead("/stream"), end_stream=False)
    for _ in range(10):
        running.data(1, message_prefix(95) + bytes(95))
    with pytest.raises(StreamFault) as fault:
        running.data(1, b"\0")
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    for _ in range(5):
        running.data(3, message_prefix(95) + bytes(94))
    running.data(3, b"\0\0\0\0")
    with pytest.raises(ConnectionFault) as fault:
        running.data(3, b"\0\0")
    assert not isinstance(fault.value, StreamFault)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    running.calls.connection_lost()


async def test_frames_after_the_end_of_a_request_are_stream_errors():
    """STREAM_CLOSED for data and trailers, as long as the response has not ended."""
    running = Running()
    running.request(1, b"hold")
    for send in (lambda: running.data(1, b"a"), lambda: running.receiver.trailers_received(1)):
        with pytest.raises(StreamFault) as fault:
            send()
        assert fault.value.code is ErrorCode.STREAM_CLOSED
    running.receiver.stream_failed(1, fault.value)
    assert running.written() == [(1, "RstStream", ErrorCode.STREAM_CLOSED)]
    assert len(running.calls.by_id) == 0
    running.receiver.trailers_received(1)
    running.receiver.reset_received(1)
    running.receiver.window_update_received(1, 0)
    assert running.written() == []


async def test_trailers_end_a_request():
    """As END_STREAM on DATA does."""
    running = Running()
    running.receiver.request_received(1, HEAD, end_stream=False)
    running.data(1, message_prefix(1) + b"a")
    running.receiver.trailers_received(1)
    await iterate()
    assert running.requests == [b"a"]


async def test_reset_cancels_the_handler():
    """Also one that has not begun; too many resets end the connection."""
    running = Running()
    running.request(1, b"hold")
    await iterate()
    running.receiver.reset_received(1)
    running.request(3, b"hold")
    running.receiver.reset_received(3)
    assert len(running.calls.by_id) == 1
    await iterate()
    assert (len(running.calls.by_id), running.num_cancelled, running.num_removed) == (0, 1, 2)
    assert running.requests == [b"hold"]
    assert running.written() == []
    running.request(5, b"hold")
    with pytest.raises(ConnectionFault, match="too many calls were reset"):
        running.receiver.reset_received(5)
    running.calls.connection_lost()


async def test_windows_of_the_client_bound_responses():
    """Its initial window for new calls, the difference for open ones, and increments of each."""
    running = Running()
    running.receiver.initial_window_received(3)
    running.request(1, b"abc")
    await iterate()
    assert [each[2] for each in running.written() if each[1] == "Data"] == [message_prefix(3)[:3]]
    running.receiver.window_update_received(1, 2)
    assert running.written() == [(1, "Data", message_prefix(3)[3:])]
    running.receiver.initial_window_received(4)
    assert running.written() == [(1, "Data", b"a")]
    running.receiver.initial_window_received(2)
    running.receiver.window_update_received(1, 3)
    assert [name for _, name, _ in running.written()] == ["Data"]
    running.receiver.window_update_received(1, 100)
    assert [name for _, name, _ in running.written()] == ["Data", "Headers"]


async def test_windows_over_the_largest_are_refused():
    """Of a stream by WINDOW_UPDATE, of the connection's streams by SETTINGS; exactly 2³¹ - 1 is allowed."""
    running = Running()
    running.request(1, b"hold")
    with pytest.raises(StreamFault) as fault:
        running.receiver.window_update_received(1, 0)
    assert fault.value.code is ErrorCode.PROTOCOL_ERROR
    running.receiver.window_update_received(1, 2**31 - 1 - 65_535)
    for window in (65_534, 65_535):
        running.receiver.initial_window_received(window)
    with pytest.raises(StreamFault) as fault:
        running.receiver.window_update_received(1, 1)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    with pytest.raises(ConnectionFault) as fault:
        running.receiver.initial_window_received(65_536)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    running.calls.connection_lost()


async def test_impossible_transition_is_raised_by_name():
    """A defect of the server is not ignored."""
    running = Running()
    running.receiver.request_received(1, RequestHead("/stream"), end_stream=False)
    (call,) = running.calls.by_id.values()
    call.state = StreamState.IDLE
    with pytest.raises(ImpossibleTransition, match=r"RECEIVE_END_STREAM .* IDLE"):
        running.data(1, b"", end_stream=True)
    running.calls.connection_lost()
    assert len(running.calls.by_id) == 0


async def test_empty_data_are_idle_frames_and_others_are_progress():
    """Padding of empty data is given back to the windows."""
    running = Running()
    running.receiver.request_received(1, RequestHead("/stream"), end_stream=False)
    for _ in range(2):
        for _ in range(3):
            running.data(1, b"")
        running.data(1, b"\0")
    for _ in range(3):
        running.receiver.data_received(1, b"", 250, end_stream=False)
    increments = [(stream_id, what) for stream_id, _, what in running.written()]
    assert increments == [(1, 502), (0, 752)]
    with pytest.raises(ConnectionFault) as fault:
        running.data(1, b"")
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM
    running.calls.connection_lost()

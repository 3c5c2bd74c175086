"""Calls of one connection, from their headers to their trailers."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from onnxmesh.errors import Overloaded
from onnxmesh.http2.protocol.abuse_guard import AbuseGuard
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode, GrpcStatus, StreamFault
from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits
from onnxmesh.http2.protocol.messages import message_prefix
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.send_queue import SendQueue
from onnxmesh.http2.protocol.stream_state import ImpossibleTransition, StreamState
from onnxmesh.http2.server.calls import Calls
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.request_receiver import RequestReceiver
from onnxmesh.http2.server.service import Service
from tests.unit.http2.protocol.outputs import RecordingOutput

HEAD = RequestHead("/unary")
LIMITS = ConnectionLimits(
    max_message_bytes=100,
    max_calls=2,
    stream_window_bytes=1_000,
    connection_window_bytes=1_500,
    abuse=AbuseLimits(max_resets_per_s=2, max_idle_frames=3),
)


class Running:
    """Calls with a unary handler and a fallback, and what they have written."""

    def __init__(self):
        self.output = RecordingOutput()
        guard = AbuseGuard(LIMITS.abuse)
        self.queue = SendQueue(self.output, guard)
        self.go_on = asyncio.Event()
        self.requests = []
        self.num_cancelled = 0
        self.num_removed = 0
        self.fallback_calls = []
        service = Service(
            handlers={"/unary": self.unary},
            fallback=self.fallback,
            decompressor=Decompressor(),
            limits=LIMITS,
        )
        self.calls = Calls(service, self.output, self.queue, on_removed=self.removed)
        self.receiver = RequestReceiver(service, self.calls, self.queue, abuse_guard=guard)
        self.queue.on_end_stream = self.calls.stream_ended

    def removed(self):
        self.num_removed += 1

    async def unary(self, message, _):
        self.requests.append(message)
        if message == b"fail":
            raise Overloaded("full")
        if message == b"hold":
            await self.hold()
        return message

    async def fallback(self, call):
        self.fallback_calls.append(call)
        await self.hold()
        call.end(grpc.StatusCode.OK)

    async def hold(self):
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise

    def data(self, stream_id, payload, *, end_stream=False):
        return self.receiver.data_received(stream_id, payload, len(payload), end_stream=end_stream)

    def request(self, stream_id=1, message=b"a", head=HEAD):
        """Sends a whole request."""
        self.receiver.request_received(stream_id, head, end_stream=False)
        self.data(stream_id, message_prefix(len(message)) + message, end_stream=True)

    def written(self):
        """Returns stream, name, and error code, increment or header block, of each frame."""
        got = []
        for each in self.output.frames():
            what = getattr(each, "error_code", getattr(each, "window_increment", getattr(each, "data", None)))
            got.append((each.stream_id, type(each).__name__.removesuffix("Frame"), what))
        return got

    def status(self):
        """Returns the header block of the one frame that was written."""
        ((_, name, block),) = self.written()
        assert name == "Headers"
        return block


async def iterate():
    for _ in range(4):
        await asyncio.sleep(0)


async def test_calls_serve_a_unary_request():
    """The handler gets the message once the request has ended, and the call is removed after its response."""
    running = Running()
    running.receiver.request_received(1, HEAD, end_stream=False)
    assert running.data(1, message_prefix(1))
    assert running.data(1, b"a")
    await iterate()
    assert (len(running.calls.by_id), running.requests) == (1, [])
    assert running.data(1, b"", end_stream=True)
    await iterate()
    assert running.requests == [b"a"]
    assert [name for _, name, _ in running.written()] == ["Headers", "Data", "Headers"]
    assert (len(running.calls.by_id), running.num_removed) == (0, 1)
    assert not running.data(1, b"late")


async def test_calls_end_with_the_status_of_a_failure():
    """In one frame, as no message was sent."""
    running = Running()
    running.request(1, b"fail")
    await iterate()
    assert b"grpc-status\x018" in running.status()
    assert len(running.calls.by_id) == 0


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


async def test_response_before_the_end_of_its_request_resets_the_stream():
    """With NO_ERROR: the client need not send the rest, and what it sent already is ignored."""
    running = Running()
    running.receiver.request_received(1, RequestHead("/unary", encoding="snappy"), end_stream=False)
    headers, reset = running.written()
    assert b"grpc-status\x0212" in headers[2]
    assert b"identity, deflate, gzip" in headers[2]
    assert reset == (1, "RstStream", ErrorCode.NO_ERROR)
    assert not running.data(1, b"late")
    assert len(running.calls.by_id) == 0


async def test_requests_that_cannot_be_served_end_at_once():
    """With the HTTP status or the gRPC status of their head."""
    running = Running()
    for head, expected in (
        (RequestHead("/unary", http_status=415), b"415"),
        (RequestHead("/unary", refusal=(GrpcStatus.UNIMPLEMENTED, "no path")), b"no path"),
    ):
        running.receiver.request_received(1, head, end_stream=True)
        assert expected in running.status()
    assert (len(running.calls.by_id), running.num_removed) == (0, 2)


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


async def test_windows_are_given_back_as_data_are_consumed():
    """At the half of each; not to a stream whose request has ended."""
    running = Running()
    running.receiver.request_received(1, HEAD, end_stream=False)
    running.data(1, message_prefix(60) + bytes(60))
    running.data(1, b"\0" * 3)
    assert running.written() == []
    running.receiver.reset_received(1)
    running.receiver.request_received(3, RequestHead("/stream"), end_stream=False)
    for _ in range(9):
        running.data(3, message_prefix(80) + bytes(80))
    assert running.written() == []
    (call,) = running.calls.by_id.values()
    for _ in range(9):
        await call.receive()
    assert running.written() == [(0, "WindowUpdate", 68 + 9 * 85), (3, "WindowUpdate", 9 * 85)]
    for _ in range(5):
        running.data(3, message_prefix(95) + bytes(95))
    running.data(3, message_prefix(95) + bytes(95), end_stream=True)
    for _ in range(6):
        await call.receive()
    assert running.written() == []
    running.receiver.reset_received(3)
    await iterate()
    # What a closed call had received is given back to the connection.
    for _ in range(2):
        running.data(3, bytes(100))
    assert running.written() == [(0, "WindowUpdate", 800)]


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
    with pytest.raises(StreamFault) as fault:
        running.receiver.window_update_received(1, 1)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    with pytest.raises(ConnectionFault) as fault:
        running.receiver.initial_window_received(65_536)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    running.calls.connection_lost()


async def test_abort_ends_calls_as_unavailable():
    """With the reason; their handlers are cancelled, and what they return is not sent."""
    running = Running()
    running.request(1, b"hold")
    await iterate()
    running.calls.abort("stopping")
    block = running.status()
    assert b"grpc-status\x0214" in block
    assert b"stopping" in block
    running.go_on.set()
    await iterate()
    assert (len(running.calls.by_id), running.written()) == (0, [])


async def test_fallback_calls_that_do_not_end_are_cancelled():
    """A handler that returns without ending its call ends it as CANCELLED."""
    running = Running()

    async def returns(_):
        return

    running.fallback = returns
    running.calls._service = Service(
        handlers={}, fallback=returns, decompressor=Decompressor(), limits=LIMITS
    )
    running.receiver.request_received(1, RequestHead("/stream"), end_stream=True)
    await iterate()
    assert b"grpc-status\x011" in running.status()
    assert len(running.calls.by_id) == 0


async def test_connection_lost_cancels_all_calls():
    """Nothing is written, and nothing is left."""
    running = Running()
    running.request(1, b"hold")
    running.receiver.request_received(3, RequestHead("/stream", timeout_s=60.0), end_stream=False)
    await iterate()
    running.calls.connection_lost()
    await iterate()
    assert (len(running.calls.by_id), running.num_cancelled, running.num_removed) == (0, 2, 2)
    assert running.written() == []


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

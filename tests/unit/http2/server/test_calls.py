"""Running calls of one connection."""

from __future__ import annotations

from onnxmesh.http2.protocol.error_codes import ErrorCode
from onnxmesh.http2.protocol.messages import message_prefix
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.service import Service
from tests.unit.http2.server.running_calls import HEAD, LIMITS, Running, iterate


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

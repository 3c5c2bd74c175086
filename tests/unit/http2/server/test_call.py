"""One call, as its handler sees it."""

from __future__ import annotations

import asyncio
import gzip

import grpc

from onnxmesh.errors import Internal
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage
from onnxmesh.http2.protocol.header_blocks import RESPONSE_HEADERS
from onnxmesh.http2.protocol.receive_window import ReceiveWindow
from onnxmesh.http2.protocol.request_head import RequestHead
from onnxmesh.http2.protocol.stream_state import StreamState
from onnxmesh.http2.server import call as module
from onnxmesh.http2.server.call import Call

HEAD = RequestHead("/a/b")


class Port:
    """What a call does at its connection, in order."""

    peer = "127.0.0.1:5"

    def __init__(self):
        self.did = []

    def send_headers(self, call, block):
        self.did.append(("headers", block))

    def send_message(self, call, message):
        self.did.append(("message", message))
        call.add(message)

    def end(self, call, status, message, metadata=()):
        self.did.append(("end", status, message, metadata))

    def fail(self, call, error):
        self.did.append(("fail", type(error)))

    def consume(self, call, num_bytes):
        self.did.append(("consume", num_bytes))

    async def decompress(self, message):
        return message.decompress()


def new_call(head=HEAD, state=StreamState.OPEN):
    return Call(Port(), 1, head, state=state, send_window=100, receive_window=ReceiveWindow(100))


async def iterate():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_call_receives_messages_until_the_request_ends():
    """The window is given back when none waits any more, not before."""
    call = new_call()
    call.add_messages([b"a", memoryview(b"b")], 12)
    assert (await call.receive(), call.unconsumed_bytes, call._port.did) == (b"a", 12, [])
    assert (await call.receive(), call.unconsumed_bytes, call._port.did) == (b"b", 0, [("consume", 12)])
    waiting = asyncio.ensure_future(call.receive())
    await iterate()
    assert not waiting.done()
    call.add_messages([], 3)
    assert call._port.did[1:] == [("consume", 3)]
    await iterate()
    assert not waiting.done()
    call.add_messages([b"c"], 6)
    assert await waiting == b"c"
    waiting = asyncio.ensure_future(call.receive())
    await iterate()
    call.state = StreamState.HALF_CLOSED_REMOTE
    call.wake()
    assert await waiting is None


async def test_call_delivers_messages_that_arrived_before_the_end():
    """`receive` returns them before None."""
    call = new_call(state=StreamState.HALF_CLOSED_REMOTE)
    call.add_messages([b"a"], 6)
    assert [await call.receive(), await call.receive()] == [b"a", None]


async def test_call_decompresses_messages_or_fails():
    """A malformed one ends the call, and is the last."""
    call = new_call()
    call.add_messages(
        [CompressedMessage(data, "gzip", 100) for data in (gzip.compress(b"a"), b"malformed")], 20
    )
    assert [await call.receive(), await call.receive()] == [b"a", None]
    assert ("fail", Internal) in call._port.did


async def test_call_sends_headers_before_a_message_and_waits_until_it_is_sent():
    """Or discarded with the call."""
    for finish in (lambda call: call.take(6), lambda call: call.clear()):
        call = new_call()
        sending = asyncio.ensure_future(call.send(b"a"))
        await iterate()
        assert call._port.did == [("headers", RESPONSE_HEADERS), ("message", b"a")]
        assert not sending.done()
        finish(call)
        await sending


def test_call_ends_with_a_status():
    """By its number, as trailers have it."""
    call = new_call()
    call.end(grpc.StatusCode.NOT_FOUND, "none", (("k", "v"),))
    assert call._port.did == [("end", 5, "none", (("k", "v"),))]


def test_call_has_the_time_until_its_deadline(monkeypatch):
    """0 at the least; None without a deadline."""
    now = [50.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    call = new_call(RequestHead("/a/b", metadata=(("k", "v"),), timeout_s=2.0))
    assert (call.time_remaining(), call.deadline_s) == (2.0, 52.0)
    now[0] = 53.0
    assert call.time_remaining() == 0.0
    assert new_call().time_remaining() is None
    assert (call.peer, call.invocation_metadata()) == ("127.0.0.1:5", (("k", "v"),))


async def test_cancel_handler_removes_a_handler_that_never_began():
    """Its `finally` will not run; that of one that began will, and reports its end."""
    call, ended = new_call(), []

    async def handler():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    call.task = never_began = asyncio.ensure_future(handler())
    call.cancel_handler()
    assert call.task is None
    call.task = began = asyncio.ensure_future(handler())
    await iterate()
    call.cancel_handler()
    assert call.task is began
    await asyncio.wait([never_began, began])
    assert (ended, never_began.cancelled(), began.cancelled()) == ([True], True, True)

"""Requests of refused streams, over real sockets."""

from __future__ import annotations

import contextlib

import grpc
import grpc.aio

from services.scheduler.publishing.discarding import discard_rest


async def status_of(num_messages, *, done):
    """The status that a client sees which writes to a stream that is refused at once."""

    async def refuse(requests, context):
        await discard_rest(requests)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no")

    server = grpc.aio.server()
    handlers = {"Refuse": grpc.stream_stream_rpc_method_handler(refuse)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream("/test/Refuse")()
            for _ in range(num_messages):
                await call.write(bytes(10_000))
            if done:
                await call.done_writing()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await call.read()
            return await call.code(), await call.details()
    finally:
        await server.stop(None)


async def test_discard_rest_lets_a_client_that_writes_see_the_refusal():
    """Whether it ends its side of the stream, or waits for an answer."""
    for done in (True, False):
        assert await status_of(50, done=done) == (grpc.StatusCode.UNAVAILABLE, "no")


async def test_discard_rest_ends_when_a_client_sends_nothing():
    """The refusal is sent without a message."""
    assert await status_of(0, done=False) == (grpc.StatusCode.UNAVAILABLE, "no")

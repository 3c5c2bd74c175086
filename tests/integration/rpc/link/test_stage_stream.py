"""The service that accepts links, called by a bare gRPC client."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.link.stage_stream import EXCHANGE, FIND_UNIX_SOCKET, hello_message, stage_stream_handler
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket

SERVER, CLIENT = Hello(node="b", generation=2), Hello(node="a", generation=1)


@pytest.fixture
async def served():
    """Yields a channel to a server, and the Hellos that it accepted."""
    accepted = []

    async def serve(pipe, hello, answer):
        accepted.append(hello)
        await answer()
        await pipe.write(b"frames")

    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    handler = stage_stream_handler(SERVER, serve, lambda: UnixSocket(name=b"onnxmesh/x"))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel, accepted
    await server.stop(None)


async def test_stage_stream_answers_a_hello_and_serves_the_stream(served):
    """Until what serves it returns."""
    channel, accepted = served
    call = channel.stream_stream(EXCHANGE)(iter([hello_message(CLIENT)]))
    assert [message async for message in call] == [hello_message(SERVER), b"frames"]
    assert accepted == [CLIENT]


@pytest.mark.parametrize(
    ("messages", "code"), [([], grpc.StatusCode.UNAVAILABLE), ([b"noise"], grpc.StatusCode.DATA_LOSS)]
)
async def test_stage_stream_refuses_a_stream_without_a_hello(served, messages, code):
    """Nothing is served."""
    channel, accepted = served
    call = channel.stream_stream(EXCHANGE)(iter(messages))
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
        await call.read()
    assert await call.code() is code
    assert accepted == []


async def test_stage_stream_advertises_the_unix_socket(served):
    """As a unary call."""
    channel, _ = served
    answer = await channel.unary_unary(FIND_UNIX_SOCKET)(b"")
    assert UnixSocket.FromString(answer).name == b"onnxmesh/x"

"""Servers and channels with the mesh's options."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from onnxmesh.rpc.grpc.channel import open_channel, server_options

ECHO = "/test/echo"


async def echo(request, context):
    return request


def server(**options):
    it = grpc.aio.server(options=server_options(**options))
    handler = grpc.unary_unary_rpc_method_handler(echo)
    it.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {"echo": handler}),))
    return it


async def test_server_options_share_a_port_only_on_request():
    """A second process on the same port is an error, unless both share it."""
    first, second = server(), server()
    port = first.add_insecure_port("127.0.0.1:0")
    with pytest.raises(RuntimeError, match="bind"):
        second.add_insecure_port(f"127.0.0.1:{port}")
    first, second = server(share_ports=True), server(share_ports=True)
    port = first.add_insecure_port("127.0.0.1:0")
    assert second.add_insecure_port(f"127.0.0.1:{port}") == port


async def test_server_options_limit_messages(monkeypatch):
    """By the given size; the channel has no limit of its own, and uses no proxy of the environment."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    it = server(max_message_bytes=6 << 20)
    port = it.add_insecure_port("127.0.0.1:0")
    await it.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(ECHO)
        assert len(await call(bytes(5 << 20))) == 5 << 20
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(bytes(7 << 20))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await it.stop(None)

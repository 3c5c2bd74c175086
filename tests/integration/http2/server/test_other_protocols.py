"""Clients that do not speak gRPC, against the HTTP/2 server: curl, browsers, TLS."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from tests.eventually import eventually
from tests.integration.http2.server.running_server import channel_to, method, running_server

CURL_UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: here\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n"
)
POST = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: here\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000)


async def answer_of(address: str, *parts: bytes) -> bytes:
    """Sends bytes, and returns everything that the server sends before it closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"],
        [b"GET / HTTP/1.0\r\n\r\n"],
        [b"P", b"O", b"ST", b" / HTTP/1.1\r\n\r\n"],
        [CURL_UPGRADE],
        [POST],
    ],
    ids=["1.1", "1.0", "in pieces", "upgrade", "long body"],
)
async def test_http1_is_answered_with_a_status_and_a_sentence(parts):
    """However it is sent; the answer names the expected protocol, and the connection is closed."""
    async with running_server() as server:
        answer = await answer_of(server.address, *parts)
        head, _, body = answer.decode().partition("\r\n\r\n")
        assert head.startswith("HTTP/1.1 505 HTTP Version Not Supported\r\n")
        assert body.startswith("HTTP/1 is not spoken here. ")
        await eventually(lambda: server.http2.num_connections == 0)


async def test_client_of_tls_learns_that_the_port_has_none():
    """By an error that every TLS library has for that, instead of a connection that is reset."""
    async with running_server() as server:
        credentials = grpc.ssl_channel_credentials()
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(server.address, credentials, own) as channel:
            with pytest.raises(grpc.aio.AioRpcError, match="WRONG_VERSION_NUMBER"):
                await channel.unary_unary(method("Echo"))(b"", timeout=30)
        async with channel_to(server) as channel:
            assert await channel.unary_unary(method("Echo"))(b"a", timeout=30) == b"a"


async def test_client_that_goes_on_sending_is_disconnected():
    """After `settle_s`: it has its answer."""
    async with running_server(settle_s=0.1) as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n")
        assert b"505" in await asyncio.wait_for(reader.readline(), 30)
        await eventually(lambda: server.http2.num_connections == 0)
        writer.close()

"""Connecting to peers by address, and the gRPC service that accepts them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.link.connector import Connector, GrpcConnection, UnixConnection
from onnxmesh.rpc.link.stage_stream import stage_stream_handler
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.unix_connector import UnixConnector
from onnxmesh.rpc.same_host.unix_listener import UnixListener
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket
from tests.eventually import eventually

HELLO = Hello(node="b", generation=3)


class Server:
    """A server whose accepted streams end when the test ends them.

    Attributes:
        accepted: Hellos of the peers.
        ended: Set to end all streams.
    """

    def __init__(self):
        self.accepted = []
        self.ended = asyncio.Event()
        self.unix_socket = UnixSocket()

    async def serve(self, pipe, hello, answer):
        await answer()
        self.accepted.append(hello)
        await pipe.write(b"first")
        await self.ended.wait()


@asynccontextmanager
async def serving():
    """Yields a server and its address."""
    it, server = Server(), grpc.aio.server()
    server.add_generic_rpc_handlers((stage_stream_handler(HELLO, it.serve, lambda: it.unix_socket),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield it, address
    finally:
        it.ended.set()
        await server.stop(None)


async def test_connector_connects_over_grpc_where_no_unix_socket_is_advertised():
    """Both sides have each other's Hello before the first message; the connection ends in order."""
    unix = UnixConnector(Hello(node="a"), PayloadMemory())
    async with serving() as (server, address):
        connection = await Connector(Hello(node="a", generation=1), unix).connect("b", address)
        assert isinstance(connection, GrpcConnection)
        assert connection.hello == HELLO
        assert server.accepted == [Hello(node="a", generation=1)]
        received = []
        await connection.pipe.receive(lambda message: received.append(message) or True)
        assert received == [b"first"]
        server.ended.set()
        await connection.finish()
        await connection.close()


async def test_connector_prefers_an_advertised_unix_socket():
    """No gRPC stream is opened then."""
    accepted = []
    listener = UnixListener(HELLO, PayloadMemory(), lambda pipe, hello: accepted.append((pipe, hello)))
    assert listener.open()
    running = asyncio.ensure_future(listener.run())
    hello = Hello(node="a")
    async with serving() as (server, address):
        server.unix_socket = listener.address
        connection = await Connector(hello, UnixConnector(hello, PayloadMemory())).connect("b", address)
        assert isinstance(connection, UnixConnection)
        assert connection.hello == HELLO
        await eventually(lambda: accepted)
        assert server.accepted == []
        await connection.finish()
        await connection.close()
        await accepted[0][0].receive(bool)
    running.cancel()
    await asyncio.wait([running])
    listener.close()


async def test_connector_refuses_another_node_at_the_address():
    """The stream to it is closed."""
    async with serving() as (_, address):
        with pytest.raises(Unavailable, match=f"expected c at {address}, found b"):
            await Connector(Hello(node="a"), None).connect("c", address)


async def test_connector_reports_an_address_without_a_server():
    """By peer and address."""
    with pytest.raises(Unavailable, match=r"b at 127\.0\.0\.1:1 cannot be reached: "):
        await Connector(Hello(node="a"), None).connect("b", "127.0.0.1:1")

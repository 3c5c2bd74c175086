"""Connections to peers by address: over a Unix socket where the peer is on this host, over gRPC elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.link.grpc_pipe import DialledPipe
from onnxmesh.rpc.link.hello import read_hello
from onnxmesh.rpc.link.link import DISCONNECT_TIMEOUT_S
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.rpc.link.stage_stream import EXCHANGE, FIND_UNIX_SOCKET, hello_message
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.rpc.same_host.unix_connector import UnixConnector
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket

CONNECT_TIMEOUT_S = 2.0
"""Limit of each step of connecting; a live peer answers a Hello in far less."""


class Connection(Protocol):
    """A stream to a peer, after both Hellos, and what has to be closed with it."""

    @property
    def pipe(self) -> Pipe:
        """Carries the messages."""

    @property
    def hello(self) -> Hello:
        """The peer's Hello."""

    async def finish(self) -> None:
        """Ends the stream in order, once its link has ended. Never raises."""

    async def close(self) -> None:
        """Closes everything at once."""


class UnixConnection:
    """A Unix socket to a peer of this host.

    Args:
        pipe: Carries the messages.
        hello: The peer's Hello.
    """

    def __init__(self, pipe: SocketPipe, hello: Hello) -> None:
        self.pipe = pipe
        self.hello = hello

    async def finish(self) -> None:
        """Does nothing: closing sends what was written."""

    async def close(self) -> None:
        """Closes the socket."""
        self.pipe.close()


class GrpcConnection:
    """A bidirectional gRPC call to a peer, on a channel of its own.

    Args:
        call: The call, after both Hellos.
        channel: Its channel.
        hello: The peer's Hello.
    """

    def __init__(self, call: Any, channel: grpc.aio.Channel, hello: Hello) -> None:
        self._call = call
        self._channel = channel
        self.pipe = DialledPipe(call)
        self.hello = hello

    async def finish(self) -> None:
        """Half-closes the call and reads to its end: cancelling it would discard what has not been sent yet."""
        try:
            async with asyncio.timeout(DISCONNECT_TIMEOUT_S):
                await self._call.done_writing()
                while await self._call.read() is not grpc.aio.EOF:
                    pass
        except (TimeoutError, grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            pass

    async def close(self) -> None:
        """Cancels the call and closes its channel."""
        self._call.cancel()
        await self._channel.close()


class Connector:
    """Connects to peers. Belongs to one event loop.

    Args:
        hello: Sent to each peer.
        unix: Connects to peers of this host; None: all are reached over gRPC.
    """

    def __init__(self, hello: Hello, unix: UnixConnector | None) -> None:
        self._greeting = hello_message(hello)
        self._unix = unix

    async def connect(self, peer: str, address: str) -> Connection:
        """Returns a new connection; the caller closes it.

        Args:
            peer: Node id that is expected there.
            address: `HOST:PORT` of its gRPC server.

        Raises:
            Unavailable: No answer in time, or another node answers (UNAVAILABLE).
            CorruptData: The answer is no Hello (DATA_LOSS).
        """
        channel = open_channel(address)
        connection: Connection | None = None
        try:
            connection = await self._connect_unix(channel)
            if connection is None:
                connection = await self._connect_grpc(channel, f"{peer} at {address}")
            else:
                await channel.close()
            if connection.hello.node != peer:
                raise Unavailable(f"expected {peer} at {address}, found {connection.hello.node}")
        except (TimeoutError, grpc.aio.AioRpcError) as error:
            await channel.close()
            why = f"no answer in {CONNECT_TIMEOUT_S:g} s"
            if isinstance(error, grpc.aio.AioRpcError):
                why = error.details() or error.code().name
            raise Unavailable(f"{peer} at {address} cannot be reached: {why}") from error
        except BaseException:
            if connection is not None:
                await connection.close()
            await channel.close()
            raise
        return connection

    async def _connect_grpc(self, channel: grpc.aio.Channel, sender: str) -> Connection:
        call: Any = channel.stream_stream(EXCHANGE)()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await call.write(self._greeting)
            first = await call.read()
        hello = read_hello(None if first is grpc.aio.EOF else first, sender)
        return GrpcConnection(call, channel, hello)

    async def _connect_unix(self, channel: grpc.aio.Channel) -> Connection | None:
        """Returns a connection without gRPC; None where the peer is not on this host."""
        if self._unix is None:
            return None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            try:
                find: Any = channel.unary_unary(FIND_UNIX_SOCKET)
                answer: bytes = await find(b"")
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return None
                raise
        connected = await self._unix.connect(UnixSocket.FromString(answer))
        return None if connected is None else UnixConnection(*connected)

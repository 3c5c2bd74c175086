"""A server of gRPC calls that are many."""

from __future__ import annotations

import asyncio
import socket
import ssl

from onnxmesh.http2.protocol.limits import EdgeLimits
from onnxmesh.http2.server.call import Service, StreamHandler, UnaryHandler
from onnxmesh.http2.server.connection import Connection
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.listening_sockets import BACKLOG, listening_sockets


class EdgeServer:
    """Listens, and serves whoever comes. Belongs to one event loop, once it has started.

    Args:
        others: Handles the calls that have no handler here.
        limits: Of each connection.
        tls: Its certificate and what clients must show; None: plain text. HTTP/2 must be among its protocols (ALPN `h2`).
    """

    def __init__(
        self, others: StreamHandler, limits: EdgeLimits | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self._handlers: dict[str, UnaryHandler] = {}
        self._inflater = Decompressor()
        self._service = Service(self._handlers, others, self._inflater, limits or EdgeLimits())
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._is_stopping = False
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def num_connections(self) -> int:
        """Clients that are connected."""
        return len(self._connections)

    def add(self, path: str, handler: UnaryHandler) -> None:
        """Has calls of `/SERVICE/METHOD` answered by `handler`."""
        self._handlers[path] = handler

    def listen(self, address: str, *, shared: bool = False) -> int:
        """Takes an address; clients are served from `start` on.

        Args:
            address: HOST:PORT; port 0 takes a free one.
            shared: Whether other processes may listen there, too.

        Returns:
            The port.

        Raises:
            OSError: The address is in use, or none of this machine.
        """
        sockets = listening_sockets(address, shared=shared)
        self._sockets += sockets
        port: int = sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Begins to serve."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            self._servers.append(
                await loop.create_server(self._connection, sock=each, ssl=self._tls, backlog=BACKLOG)
            )
        self._sockets.clear()

    async def stop(self, grace_s: float) -> None:
        """Sends clients elsewhere and ends; calls that run get `grace_s`. May be called again, with less."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()
        for server in self._servers:
            server.close()
        self._servers.clear()
        self._is_stopping = True
        for connection in tuple(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort("the server has stopped")
            await self._empty.wait()
        self._inflater.close()

    def _connection(self) -> Connection:
        return Connection(self._service, self._open, self._close)

    def _open(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._empty.clear()
        if self._is_stopping:
            connection.drain()

    def _close(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

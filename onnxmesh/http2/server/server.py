"""HTTP/2 server: listening sockets, connections, graceful shutdown."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl

from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.server.connection import Http2Connection
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.listening_sockets import BACKLOG, listening_sockets
from onnxmesh.http2.server.service import DEFAULT_SPOKEN, Service, StreamHandler, UnaryHandler


class Http2Server:
    """Server of gRPC calls over HTTP/2. Belongs to one event loop, once it has started.

    Args:
        fallback: Handles the calls that have no handler here.
        limits: Limits of each connection.
        tls: Certificate, and what clients must present; None: plain text. ALPN must include `h2`.
        spoken: See `Service`.
        min_gzip_bytes: See `Service`.
    """

    def __init__(
        self,
        fallback: StreamHandler,
        limits: ConnectionLimits | None = None,
        tls: ssl.SSLContext | None = None,
        *,
        spoken: str = DEFAULT_SPOKEN,
        min_gzip_bytes: float = math.inf,
    ) -> None:
        self._handlers: dict[str, UnaryHandler] = {}
        self._decompressor = Decompressor()
        self._service = Service(
            handlers=self._handlers,
            fallback=fallback,
            decompressor=self._decompressor,
            limits=limits or ConnectionLimits(),
            spoken=spoken,
            min_gzip_bytes=min_gzip_bytes,
        )
        self._tls = tls
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self._connections: set[Http2Connection] = set()
        self._is_stopping = False
        self._has_no_connections = asyncio.Event()
        self._has_no_connections.set()

    @property
    def num_connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    def add(self, path: str, handler: UnaryHandler) -> None:
        """Registers the handler of `/SERVICE/METHOD`."""
        self._handlers[path] = handler

    def listen(self, address: str, *, shared: bool = False) -> int:
        """Binds an address; connections are accepted from `start` on.

        Args:
            address: HOST:PORT; port 0: any free port.
            shared: Whether other processes may listen there too (SO_REUSEPORT).

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
        """Begins to accept connections."""
        loop = asyncio.get_running_loop()
        for each in self._sockets:
            self._servers.append(
                await loop.create_server(self._new_connection, sock=each, ssl=self._tls, backlog=BACKLOG)
            )
        self._sockets.clear()

    async def stop(self, grace_s: float) -> None:
        """Drains all connections; calls that still run after `grace_s` are aborted. May be called again, with less."""
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
                await self._has_no_connections.wait()
        except TimeoutError:
            for connection in tuple(self._connections):
                connection.abort("the server has stopped")
            await self._has_no_connections.wait()
        self._decompressor.close()

    def _new_connection(self) -> Http2Connection:
        return Http2Connection(self._service, self._connection_opened, self._connection_closed)

    def _connection_opened(self, connection: Http2Connection) -> None:
        self._connections.add(connection)
        self._has_no_connections.clear()
        if self._is_stopping:
            connection.drain()

    def _connection_closed(self, connection: Http2Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._has_no_connections.set()

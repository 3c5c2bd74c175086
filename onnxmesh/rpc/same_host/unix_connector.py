"""Connections to the Unix sockets of other processes of this host."""

from __future__ import annotations

import socket
from functools import partial

import structlog

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.same_host.boot_id import boot_id
from onnxmesh.rpc.same_host.handshake import connect_handshake, connect_pipe
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket

_log = structlog.get_logger(__name__)


class UnixConnector:
    """Connects to peers of this host. Belongs to one event loop.

    Args:
        hello: Sent to each peer.
        memory: Allocates the memory for each peer.
    """

    def __init__(self, hello: Hello, memory: PayloadMemory) -> None:
        self._hello = hello
        self._memory = memory
        self._boot_id = boot_id()

    async def connect(self, address: UnixSocket) -> tuple[SocketPipe, Hello] | None:
        """Connects to the socket of another process.

        Returns:
            The pipe and the peer's Hello; None where the peer is on another host or cannot be reached: gRPC remains.
        """
        if not address.name or address.boot_id != self._boot_id:
            return None
        hello = Hello()
        hello.CopyFrom(self._hello)
        hello.token = address.token
        try:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                memory = self._memory.allocate()
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            _log.warning("unix_connect_failed", error=str(error))
            return None
        handshake = partial(connect_handshake, connection, address.name, hello, memory)
        try:
            return await connect_pipe(handshake, connection, memory)
        except Unavailable as error:
            _log.info("unix_connect_failed", error=error.message)
            return None

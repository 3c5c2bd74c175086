"""The Unix socket on which a process accepts peers of its host."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable
from functools import partial

import structlog

from onnxmesh.errors import Unavailable
from onnxmesh.memory.shared_memory import MEMORY_BYTES
from onnxmesh.rpc.same_host.boot_id import boot_id
from onnxmesh.rpc.same_host.handshake import accept_pipe, receive_introduction
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket

_BACKLOG = 128

_log = structlog.get_logger(__name__)


class UnixListener:
    """A Unix socket for other processes of this host and user. Belongs to one event loop.

    Its name is in the abstract namespace: it ends with the process, and processes of another network namespace, such
    as another container, cannot connect to it.

    Args:
        hello: Sent to each peer.
        memory: Allocates the memory for each peer.
        on_accepted: Called with each new pipe and its peer's Hello; must not block.
    """

    def __init__(
        self, hello: Hello, memory: PayloadMemory, on_accepted: Callable[[SocketPipe, Hello], object]
    ) -> None:
        self._hello = hello
        self._memory = memory
        self._on_accepted = on_accepted
        self._name = b"onnxmesh/" + secrets.token_hex(16).encode()
        self._token = secrets.token_bytes(16)
        self._boot_id = boot_id()
        self._socket: socket.socket | None = None

    @property
    def address(self) -> UnixSocket:
        """Name, token and host of the socket; empty while it is closed."""
        if self._socket is None:
            return UnixSocket()
        return UnixSocket(name=self._name, token=self._token, boot_id=self._boot_id)

    def open(self) -> bool:
        """Starts to listen; False where the system has no such sockets or memory files."""
        if not self._boot_id or not hasattr(os, "memfd_create"):
            return False
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(b"\0" + self._name)
            listening.listen(_BACKLOG)
            self._memory.probe()
        except OSError as error:
            listening.close()
            _log.info("same_host_not_used", error=str(error))
            return False
        listening.setblocking(False)
        self._socket = listening
        if self._memory.usable_bytes < MEMORY_BYTES:
            _log.warning(
                "little_shared_memory",
                bytes=self._memory.usable_bytes,
                wanted=MEMORY_BYTES,
                effect="large tensors go through sockets where it is full",
            )
        return True

    async def run(self) -> None:
        """Accepts peers until it is cancelled."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as handshakes:
            while True:
                connection, _ = await loop.sock_accept(self._socket)
                handshakes.create_task(self._accept(connection))

    def close(self) -> None:
        """Closes the socket, once `run` has ended; accepted pipes stay open."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _accept(self, connection: socket.socket) -> None:
        try:
            memory = self._memory.allocate()
        except OSError as error:
            connection.close()
            _log.warning("unix_peer_refused", error=str(error))
            return
        handshake = partial(receive_introduction, connection, self._token)
        try:
            await accept_pipe(handshake, connection, memory, hello=self._hello, on_accepted=self._on_accepted)
        except Unavailable as error:
            _log.warning("unix_peer_refused", error=error.message)

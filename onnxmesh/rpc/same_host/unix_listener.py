"""Where processes of this host come in without gRPC, and how they enter at others' doors."""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from google.protobuf.message import DecodeError

from onnxmesh.device.resources import available_memory_bytes
from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.memory.backing import MemoryAllowance
from onnxmesh.memory.shared_memory import MEMORY_BYTES, OwnMemory, PeerMemory
from onnxmesh.rpc.same_host.socket_pipe import LENGTH_BYTES, SocketPipe
from onnxmesh.v1 import frame_pb2

HANDSHAKE_S = 2.0
"""Two processes of one host need far less to say Hello."""

SHARE = 4
"""One in so many bytes of what this process may use at all may be shared memory."""

_BACKLOG = 128
_LEAST_MEMORY_BYTES = 1 << 20
_MAX_HELLO_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")

_log = structlog.get_logger(__name__)

_Met = tuple[frame_pb2.Hello, PeerMemory]
"""The other side's Hello, and its memory."""

Entered = Callable[[SocketPipe, frame_pb2.Hello], object]


def boot_id() -> str:
    """Returns what tells this host's running kernel from others; empty where it cannot be had."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _possible_bytes() -> int:
    """Returns how long memory for a peer may be: less than wanted where this process has little address space.

    Raises:
        OSError: There can be none at all.
    """
    byte_size = MEMORY_BYTES
    while byte_size > _LEAST_MEMORY_BYTES:
        try:
            OwnMemory(byte_size).close()
        except OSError:
            byte_size //= 4
        else:
            return byte_size
    OwnMemory(_LEAST_MEMORY_BYTES).close()
    return _LEAST_MEMORY_BYTES


class UnixListener:
    """A Unix socket at which other processes of this host and user come in. For one event loop.

    Its name is in the abstract namespace: nothing is left of it, however this process ends. A process in another network
    namespace, such as another container, does not see it.

    Args:
        node: This process's name.
        generation: Which start of it this is.
        entered: Called with each stream that is opened here.
        may_use_bytes: Memory that this process may use; None: what its container or machine has.
    """

    def __init__(
        self, node: str, generation: int, entered: Entered, may_use_bytes: int | None = None
    ) -> None:
        self._hello = frame_pb2.Hello(node=node, generation=generation)
        self._entered = entered
        self._name = b"onnxmesh/" + secrets.token_hex(16).encode()
        self._token = secrets.token_bytes(16)
        self._boot_id = boot_id()
        self._socket: socket.socket | None = None
        may_use_bytes = available_memory_bytes() if may_use_bytes is None else may_use_bytes
        self._allowed_bytes = MEMORY_BYTES if may_use_bytes is None else may_use_bytes // SHARE
        self._allowance = MemoryAllowance(self._allowed_bytes)
        self._memory_bytes = MEMORY_BYTES

    @property
    def address(self) -> frame_pb2.UnixSocket:
        """What a process is told that asks for the door; empty while it is shut."""
        if self._socket is None:
            return frame_pb2.UnixSocket()
        return frame_pb2.UnixSocket(name=self._name, token=self._token, boot_id=self._boot_id)

    def open(self) -> bool:
        """Begins to listen; False where this system has no such sockets or memory files."""
        if not self._boot_id or not hasattr(os, "memfd_create"):
            return False
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(b"\0" + self._name)
            listening.listen(_BACKLOG)
            self._memory_bytes = _possible_bytes()
        except OSError as error:
            listening.close()
            _log.info("same_host_not_used", error=str(error))
            return False
        listening.setblocking(False)
        self._socket = listening
        usable_bytes = min(self._memory_bytes, self._allowed_bytes)
        if usable_bytes < MEMORY_BYTES:
            _log.warning(
                "little_shared_memory",
                bytes=usable_bytes,
                wanted=MEMORY_BYTES,
                effect="large tensors go through sockets where it is full",
            )
        return True

    async def run(self) -> None:
        """Lets processes in until it is cancelled."""
        assert self._socket is not None
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as visitors:
            while True:
                connection, _ = await loop.sock_accept(self._socket)
                visitors.create_task(self._let_in(connection))

    def close(self) -> None:
        """Shuts the door, once `run` has ended; who is in stays."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def enter(self, door: frame_pb2.UnixSocket) -> tuple[SocketPipe, frame_pb2.Hello] | None:
        """Comes in at another process's door.

        Returns:
            The stream and its Hello; None where that process is not on this host, or cannot be reached so.
        """
        if not door.name or door.boot_id != self._boot_id:
            return None
        hello = frame_pb2.Hello()
        hello.CopyFrom(self._hello)
        hello.token = door.token
        try:
            connection, memory = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), self._own_memory()
        except OSError as error:
            _log.warning("door_not_entered", error=str(error))
            return None
        met = await _met(partial(_knock, connection, door.name, hello, memory), connection, memory)
        if isinstance(met, Exception):
            _log.info("door_not_entered", error=str(met))
            return None
        answer, theirs = met
        return await self._pipe(connection, memory, theirs, accepted=False), answer

    async def _let_in(self, connection: socket.socket) -> None:
        try:
            memory = self._own_memory()
        except OSError as error:
            connection.close()
            _log.warning("visitor_refused", error=str(error))
            return
        met = await _met(partial(self._greet, connection, memory), connection, memory)
        if isinstance(met, Exception):
            _log.warning("visitor_refused", error=str(met))
            return
        hello, theirs = met
        self._entered(await self._pipe(connection, memory, theirs, accepted=True), hello)

    def _own_memory(self) -> OwnMemory:
        return OwnMemory(self._memory_bytes, self._allowance)

    def _greet(self, connection: socket.socket, memory: OwnMemory) -> _Met:
        """Takes a visitor's Hello and answers it; runs in a thread."""
        connection.settimeout(HANDSHAKE_S)
        _, user, _ = _CREDENTIALS.unpack(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        hello, descriptor = _receive(connection)
        try:
            if user != os.getuid() or not hmac.compare_digest(hello.token, self._token):
                raise Unavailable(f"user {user} came to the door without its token")
        except BaseException:
            os.close(descriptor)
            raise
        # Before the answer: a visitor whose memory cannot be mapped here is not let in.
        theirs = PeerMemory(descriptor)
        _send(connection, self._hello, memory)
        return hello, theirs

    async def _pipe(
        self, connection: socket.socket, memory: OwnMemory, theirs: PeerMemory, *, accepted: bool
    ) -> SocketPipe:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        pipe = SocketPipe(memory, theirs)

        def factory() -> SocketPipe:
            return pipe

        if accepted:
            await loop.connect_accepted_socket(factory, connection)
        else:
            await loop.create_unix_connection(factory, sock=connection)
        return pipe


async def _met(
    handshake: Callable[[], _Met], connection: socket.socket, memory: OwnMemory
) -> _Met | Exception:
    """Returns what came of a handshake, in a thread; where it failed, or is not waited for, everything is closed."""
    meeting = asyncio.get_running_loop().run_in_executor(None, handshake)
    try:
        return await asyncio.shield(meeting)
    except asyncio.CancelledError:
        meeting.add_done_callback(partial(_part, connection, memory))
        raise
    except (OSError, Unavailable, CorruptData) as error:
        _part(connection, memory)
        return error


def _part(connection: socket.socket, memory: OwnMemory, meeting: asyncio.Future[_Met] | None = None) -> None:
    """Closes everything that a handshake opened."""
    connection.close()
    memory.close()
    if meeting is not None and not meeting.cancelled():
        meeting.exception()  # nobody else asks for it


def _knock(connection: socket.socket, name: bytes, hello: frame_pb2.Hello, memory: OwnMemory) -> _Met:
    """Says Hello at a door and takes the answer; runs in a thread."""
    connection.settimeout(HANDSHAKE_S)
    connection.connect(b"\0" + name)
    _send(connection, hello, memory)
    answer, descriptor = _receive(connection)
    return answer, PeerMemory(descriptor)


def _send(connection: socket.socket, hello: frame_pb2.Hello, memory: OwnMemory) -> None:
    message = hello.SerializeToString()
    socket.send_fds(
        connection, [len(message).to_bytes(LENGTH_BYTES, "little") + message], [memory.descriptor]
    )


def _receive(connection: socket.socket) -> tuple[frame_pb2.Hello, int]:
    """Returns the Hello and the descriptor that came with it; reads not a byte beyond."""
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 1)
    try:
        size = int.from_bytes(_whole(connection, head, LENGTH_BYTES), "little")
        if size > _MAX_HELLO_BYTES or len(descriptors) != 1:
            raise CorruptData("expected a Hello and one descriptor")
        return frame_pb2.Hello.FromString(_whole(connection, b"", size)), descriptors[0]
    except DecodeError as error:
        _close(descriptors)
        raise CorruptData(f"expected a Hello: {error}") from error
    except BaseException:
        _close(descriptors)
        raise


def _whole(connection: socket.socket, begun: bytes, size: int) -> bytes:
    while len(begun) < size:
        more = connection.recv(size - len(begun))
        if not more:
            raise Unavailable("the other side hung up before its Hello")
        begun += more
    return begun


def _close(descriptors: list[Any]) -> None:
    for each in descriptors:
        os.close(each)

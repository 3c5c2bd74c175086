"""The handshake of two processes over a Unix socket: each sends its Hello and the descriptor of its memory.

connecting side                        accepting side
Hello + token, memory  ─────────────▶  checks user and token, maps the memory, registers the link
maps the memory        ◀─────────────  Hello, memory

The accepting side registers the link before its Hello leaves: the connecting side may count on replies from then on.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import socket
import struct
from collections.abc import Callable, Iterable
from functools import partial

from google.protobuf.message import DecodeError

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.memory.shared_memory import OwnMemory, PeerMemory
from onnxmesh.rpc.same_host.socket_pipe import LENGTH_BYTES, SocketPipe
from onnxmesh.v1.frame_pb2 import Hello

HANDSHAKE_TIMEOUT_S = 2.0
"""Limit of each socket operation; two processes of one host need far less."""

_MAX_HELLO_BYTES = 4096
_CREDENTIALS = struct.Struct("3i")

_Introduction = tuple[Hello, PeerMemory]
"""The peer's Hello and its memory."""


def connect_handshake(
    connection: socket.socket, name: bytes, hello: Hello, memory: OwnMemory
) -> _Introduction:
    """Connects to the Unix socket `name` and runs the connecting side. Blocks: for a thread.

    Raises:
        OSError: The socket cannot be reached, or the peer did not answer in time.
        Unavailable: The peer closed the connection (UNAVAILABLE).
        CorruptData: The peer sent anything else, or its memory cannot be mapped (DATA_LOSS).
    """
    connection.settimeout(HANDSHAKE_TIMEOUT_S)
    connection.connect(b"\0" + name)
    _send(connection, hello, memory)
    answer, descriptor = _receive(connection)
    return answer, PeerMemory(descriptor)


def receive_introduction(connection: socket.socket, token: bytes) -> _Introduction:
    """Receives and checks the first message of a new connection; `accept_pipe` answers it. Blocks: for a thread.

    Raises:
        OSError: The peer did not send its Hello in time.
        Unavailable: It belongs to another user, does not know the token, or closed the connection (UNAVAILABLE).
        CorruptData: It sent anything else, or its memory cannot be mapped (DATA_LOSS).
    """
    connection.settimeout(HANDSHAKE_TIMEOUT_S)
    _, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    peer_hello, descriptor = _receive(connection)
    if user != os.getuid() or not hmac.compare_digest(peer_hello.token, token):
        os.close(descriptor)
        raise Unavailable(f"a process of user {user} did not send the token of this socket")
    return peer_hello, PeerMemory(descriptor)


async def connect_pipe(
    handshake: Callable[[], _Introduction], connection: socket.socket, memory: OwnMemory
) -> tuple[SocketPipe, Hello]:
    """Runs the connecting side in a thread, then carries messages on its connection.

    Args:
        handshake: `connect_handshake` with its arguments bound.
        connection: Closed on failure or cancellation.
        memory: This process's memory for the pipe; closed likewise.

    Returns:
        The pipe and the peer's Hello.

    Raises:
        Unavailable: The handshake failed (UNAVAILABLE).
    """
    hello, peer_memory = await _in_thread(handshake, connection, memory)
    pipe = SocketPipe(memory, peer_memory)
    await asyncio.get_running_loop().create_unix_connection(lambda: pipe, sock=connection)
    return pipe, hello


async def accept_pipe(
    handshake: Callable[[], _Introduction],
    connection: socket.socket,
    memory: OwnMemory,
    *,
    hello: Hello,
    on_accepted: Callable[[SocketPipe, Hello], object],
) -> None:
    """Runs the accepting side: the first half in a thread, the answer on the event loop.

    Args:
        handshake: `receive_introduction` with its arguments bound.
        connection: Closed on failure or cancellation.
        memory: This process's memory for the pipe; closed likewise.
        hello: Sent to the peer.
        on_accepted: Called with the pipe and the peer's Hello in the iteration of the event loop in which the answer leaves.

    Raises:
        Unavailable: The handshake failed (UNAVAILABLE).
    """
    peer_hello, peer_memory = await _in_thread(handshake, connection, memory)
    pipe = SocketPipe(memory, peer_memory)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: pipe, connection)
    try:
        # On the socket itself, for the descriptor; it fits the empty buffer of a new socket.
        _send(connection, hello, memory)
    except OSError as error:
        pipe.close()
        raise Unavailable(str(error)) from error
    on_accepted(pipe, peer_hello)


async def _in_thread(
    handshake: Callable[[], _Introduction], connection: socket.socket, memory: OwnMemory
) -> _Introduction:
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(None, handshake)
    try:
        hello, peer_memory = await asyncio.shield(running)
    except asyncio.CancelledError:
        running.add_done_callback(partial(_discard, connection, memory))
        raise
    except (OSError, Unavailable, CorruptData) as error:
        _discard(connection, memory)
        raise Unavailable(str(error)) from error
    connection.setblocking(False)
    return hello, peer_memory


def _discard(
    connection: socket.socket, memory: OwnMemory, running: asyncio.Future[_Introduction] | None = None
) -> None:
    """Closes what a handshake opened; marks its error as retrieved."""
    connection.close()
    memory.close()
    if running is not None and not running.cancelled():
        running.exception()


def _send(connection: socket.socket, hello: Hello, memory: OwnMemory) -> None:
    message = hello.SerializeToString()
    socket.send_fds(
        connection, [len(message).to_bytes(LENGTH_BYTES, "little") + message], [memory.descriptor]
    )


def _receive(connection: socket.socket) -> tuple[Hello, int]:
    """Returns the Hello and the descriptor that came with it; reads no byte beyond."""
    head, descriptors, _, _ = socket.recv_fds(connection, LENGTH_BYTES, 1)
    try:
        size = int.from_bytes(_read_exactly(connection, head, LENGTH_BYTES), "little")
        if size > _MAX_HELLO_BYTES or len(descriptors) != 1:
            raise CorruptData("expected a Hello and one descriptor")
        return Hello.FromString(_read_exactly(connection, b"", size)), descriptors[0]
    except DecodeError as error:
        _close(descriptors)
        raise CorruptData(f"expected a Hello: {error}") from error
    except BaseException:
        _close(descriptors)
        raise


def _read_exactly(connection: socket.socket, begun: bytes, size: int) -> bytes:
    while len(begun) < size:
        more = connection.recv(size - len(begun))
        if not more:
            raise Unavailable("the peer closed the connection before its Hello")
        begun += more
    return begun


def _close(descriptors: Iterable[int]) -> None:
    for each in descriptors:
        os.close(each)

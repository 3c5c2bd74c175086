"""The handshake over a Unix socket, both sides in one process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.rpc.same_host.handshake import accept_pipe, receive_introduction
from onnxmesh.v1.frame_pb2 import Hello

TOKEN = bytes(range(16))
HELLO = Hello(node="b", generation=2)


def greeting(token=TOKEN, num_descriptors=1, node="a"):
    """What a peer sends first, with copies of a memory's descriptor."""
    message = Hello(node=node, generation=1, token=token).SerializeToString()
    return len(message).to_bytes(4, "little") + message, num_descriptors


def num_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def accept(sent, num_descriptors):
    """Returns what the accepting side makes of a greeting, and what the peer receives."""
    connection, peer = socket.socketpair()
    memory = OwnMemory(1 << 16)
    with contextlib.closing(peer), contextlib.closing(OwnMemory(1 << 16)) as peer_memory:
        socket.send_fds(peer, [sent], [peer_memory.descriptor] * num_descriptors)
        peer.shutdown(socket.SHUT_WR)
        accepted = []
        await accept_pipe(
            partial(receive_introduction, connection, TOKEN),
            connection,
            memory,
            hello=HELLO,
            on_accepted=lambda *introduced: accepted.append(introduced),
        )
        ((pipe, hello),) = accepted
        answer, descriptors, _, _ = socket.recv_fds(peer, 4096, 1)
        for each in descriptors:
            os.close(each)
        pipe.close()
        await pipe.receive(bool)
    return hello, answer, len(descriptors)


async def test_accept_pipe_exchanges_hellos_and_memory():
    """The peer gets a Hello without the token, and one descriptor."""
    hello, answer, received = await accept(*greeting())
    assert (hello.node, hello.generation) == ("a", 1)
    assert Hello.FromString(answer[4:]) == HELLO
    assert received == 1


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (greeting(token=bytes(16)), "did not send the token"),
        (greeting(token=b""), "did not send the token"),
        (greeting(num_descriptors=0), "one descriptor"),
        (greeting(node="a" * 5000), "expected a Hello and one descriptor"),
        ((b"\x02\0\0\0\xff\xff", 1), "expected a Hello"),
        ((b"\x09\0\0\0ab", 1), "closed the connection before its Hello"),
        ((b"\x09\0", 1), "closed the connection before its Hello"),
    ],
)
async def test_accept_pipe_refuses_any_other_greeting(sent, why):
    """A wrong token, no memory, too long, no message, too short: no descriptor stays open."""
    await asyncio.to_thread(bool)  # the executor of the loop opens none later
    before = num_descriptors()
    with pytest.raises(Unavailable, match=why):
        await accept(*sent)
    assert num_descriptors() == before

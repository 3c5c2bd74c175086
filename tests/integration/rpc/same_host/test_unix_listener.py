"""Peers of one host connect to each other's Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from concurrent.futures import Future

import pytest

from onnxmesh.memory.shared_memory import OwnMemory
from onnxmesh.rpc.same_host.handshake import connect_handshake
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.unix_connector import UnixConnector
from onnxmesh.rpc.same_host.unix_listener import UnixListener
from onnxmesh.v1.frame_pb2 import Hello
from tests.eventually import eventually
from tests.integration.rpc.same_host.same_host_links import LARGE, activation, pair


@contextlib.asynccontextmanager
async def listening(memory):
    """Yields a listener that accepts peers, and the list of those it accepted."""
    accepted = []
    listener = UnixListener(Hello(node="b"), memory, lambda pipe, hello: accepted.append((pipe, hello)))
    assert listener.open()
    running = asyncio.ensure_future(listener.run())
    try:
        yield listener, accepted
    finally:
        running.cancel()
        await asyncio.wait([running])
        listener.close()
        assert not listener.address.name


async def close(pipe):
    pipe.close()
    await pipe.receive(bool)


@pytest.mark.parametrize("spoil", ["token", "name", "boot_id"])
async def test_unix_listener_accepts_only_peers_with_its_token(spoil):
    """A peer with another token or of another host is not accepted; the next one is."""
    connector = UnixConnector(Hello(node="a"), PayloadMemory())
    async with listening(PayloadMemory()) as (listener, accepted):
        address = listener.address
        setattr(address, spoil, {"token": bytes(16), "name": b"onnxmesh/unused", "boot_id": "other"}[spoil])
        assert await connector.connect(address) is None
        assert accepted == []
        pipe, hello = await connector.connect(listener.address)
        assert (hello.node, hello.token) == ("b", b"")
        await eventually(lambda: accepted)
        assert accepted[0][1].node == "a"
        await close(pipe)
        await close(accepted[0][0])


async def test_unix_listener_has_a_peer_before_the_peer_can_count_on_it():
    """What the peer causes once it has the Hello finds its link: a reply may be sent to it over this pipe at once."""
    loop = asyncio.get_running_loop()

    def connect(address, accepted, num_accepted):
        """In a thread: connects, and has the event loop look as soon as the Hello is there."""
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer,
            contextlib.closing(OwnMemory(1 << 16)) as memory,
        ):
            _, peer_memory = connect_handshake(
                peer, address.name, Hello(node="a", token=address.token), memory
            )
            seen = Future()
            loop.call_soon_threadsafe(lambda: seen.set_result(len(accepted)))
            assert seen.result() == num_accepted
            peer_memory.close()

    async with listening(PayloadMemory()) as (listener, accepted):
        for num in range(1, 31):
            await asyncio.to_thread(connect, listener.address, accepted, num)
        for pipe, _ in accepted:
            await close(pipe)


async def test_unix_listener_survives_peers_that_send_anything_else():
    """A connection without a Hello, or with noise, is closed; a peer is accepted meanwhile."""
    async with pair() as (link, b, got):
        for noise in (b"", b"\xff" * 100, b"\x02\0\0\0hi"):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(b"\0" + b._unix_listener.address.name)
                stranger.send(noise)
        await link.send(activation(LARGE))
        await eventually(lambda: got)


async def test_unix_listener_warns_once_of_little_memory(capsys):
    """In a container with little memory a quarter of it is shared by all links; the rest goes through the socket."""
    connector = UnixConnector(Hello(node="a"), PayloadMemory(8 << 20))
    async with listening(PayloadMemory(8 << 20)) as (listener, accepted):
        assert capsys.readouterr().out.count("little_shared_memory") == 1
        ends = [(await connector.connect(listener.address))[0] for _ in range(2)]
        large = activation(1 << 20)
        assert ends[0].share_payloads(large).shared
        assert ends[1].share_payloads(large).shared
        assert ends[0].share_payloads(large) is large
        assert "memory" not in capsys.readouterr().out
        await close(ends[1])
        await eventually(lambda: ends[0].share_payloads(large).shared)
        await close(ends[0])
        for pipe, _ in accepted:
            await close(pipe)

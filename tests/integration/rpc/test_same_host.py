"""Two processes of one host."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from pathlib import Path

import grpc.aio
import pytest

from onnxmesh.memory.shared_memory import MEMORY_BYTES
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.link.links import Links
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from onnxmesh.rpc.same_host.unix_listener import UnixListener
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually

LARGE = 10 << 20


def activation(size, number=1):
    body = frame_pb2.Activation(
        key=frame_pb2.RequestKey(origin="a", number=number),
        tensors=[frame_pb2.Tensor(name="x", byte_size=size)],
    )
    return Frame(frame_pb2.FrameHeader(activation=body), (os.urandom(size),))


@contextlib.asynccontextmanager
async def pair(**settings):
    """Yields two ends, the link of the one that dialled, and the list of frames that the other got."""
    got = []
    async with (
        Links("a", 1, lambda *_: None, **settings) as a,
        Links("b", 1, lambda _, frame: got.append(frame)) as b,
    ):
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield await a.connect("b", f"127.0.0.1:{port}"), b, got
        finally:
            await server.stop(None)


def used_bytes(link):
    return link._pipe._own.used_bytes


def same(got, sent):
    return got.header == sent.header and got.payloads[0] == sent.payloads[0]


async def test_a_large_payload_stays_where_it_is():
    """A tensor of 10 MB is written once and read in place; when its reader is done, its memory is free again."""
    async with pair() as (link, _, got):
        assert isinstance(link._pipe, SocketPipe)
        sent = activation(LARGE)
        await link.send(sent)
        await eventually(lambda: got)
        assert used_bytes(link) == LARGE
        assert same(got[0], sent)
        got.clear()
        gc.collect()
        await eventually(lambda: used_bytes(link) == 0)


async def test_full_memory_falls_back_to_the_socket():
    """What finds no room is sent like anything else, whole and in order."""
    async with pair() as (link, _, got):
        num_held = MEMORY_BYTES // LARGE
        sent = [activation(LARGE, number) for number in range(num_held + 2)]
        for frame in sent:
            await link.send(frame)
        await eventually(lambda: len(got) == len(sent))
        assert all(same(one, two) for one, two in zip(got, sent, strict=True))
        assert used_bytes(link) == num_held * LARGE
        got.clear()
        gc.collect()
        await eventually(lambda: used_bytes(link) == 0)


async def test_views_outlive_the_link():
    """A tensor that is being computed on when its sender goes is still there."""
    async with pair() as (link, _, got):
        sent = activation(LARGE)
        await link.send(sent)
        await eventually(lambda: got)
        link._pipe._transport.abort()
        await link.closed.wait()
    assert same(got[0], sent)


async def test_a_reader_that_keeps_what_it_read_goes_with_it():
    """A view does not keep the link that it came by, nor through that its own keeper."""

    def num_mapped():
        gc.collect()
        return Path("/proc/self/maps").read_text().count("memfd:onnxmesh")

    async def visit():
        async with pair() as (link, _, got):
            await link.send(activation(LARGE))
            await eventually(lambda: got)
            assert num_mapped() == before + 4

    before = num_mapped()
    await visit()
    await eventually(lambda: num_mapped() == before)


async def test_without_a_door_there_is_grpc():
    """A peer that keeps its door shut, or that is told to do without, is reached through gRPC."""
    async with pair(same_host=False) as (link, _, got):
        assert not isinstance(link._pipe, SocketPipe)
        await link.send(activation(100))
        await eventually(lambda: got)


@pytest.mark.parametrize("spoil", ["token", "name", "boot_id"])
async def test_the_door_opens_to_its_token_alone(spoil):
    """A process with another token, or of another host, does not get in; the next one does."""
    entered = []
    door = UnixListener("b", 1, lambda pipe, hello: entered.append((pipe, hello)))
    visitor = UnixListener("a", 1, print)
    assert door.open()
    running = asyncio.ensure_future(door.run())
    try:
        address = door.address
        setattr(address, spoil, {"token": bytes(16), "name": b"onnxmesh/nobody", "boot_id": "other"}[spoil])
        assert await visitor.enter(address) is None
        assert entered == []
        pipe, hello = await visitor.enter(door.address)
        assert (hello.node, hello.token) == ("b", b"")
        await eventually(lambda: entered)
        assert entered[0][1].node == "a"
        for each in (pipe, entered[0][0]):
            each.close()
            await each.receive(bool)
    finally:
        running.cancel()
        await asyncio.wait([running])
        door.close()


async def test_nonsense_at_the_door_disturbs_nobody():
    """Who connects and says something else, or nothing, is hung up on; a peer comes in meanwhile."""
    async with pair() as (link, b, got):
        for words in (b"", b"\xff" * 100, b"\x02\0\0\0hi"):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.connect(b"\0" + b._door.address.name)
                stranger.send(words)
        await link.send(activation(LARGE))
        await eventually(lambda: got)


async def test_what_is_written_in_place_is_not_copied():
    """A payload in a room of the link arrives from there; it needs no place of its own."""
    async with pair() as (link, _, got):
        room = link.allocator(LARGE)
        room[:] = content = os.urandom(LARGE)
        sent = activation(LARGE)
        await link.send(Frame(sent.header, (room.toreadonly(),)))
        await eventually(lambda: got)
        assert used_bytes(link) == LARGE
        assert got[0].payloads[0] == content
        got.clear()
        del room
        gc.collect()
        await eventually(lambda: used_bytes(link) == 0)


async def test_a_send_that_is_cancelled_leaves_nothing_taken():
    """Whenever it is: while its payload is copied, or later."""
    async with pair() as (link, _, got):
        for turn in range(20):
            sending = asyncio.ensure_future(link.send(activation(LARGE, turn)))
            for _ in range(turn % 4):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
        await link.send(activation(100, 99))
        await eventually(lambda: any(frame.header.activation.key.number == 99 for frame in got))
        got.clear()
        gc.collect()
        await eventually(lambda: gc.collect() is not None and used_bytes(link) == 0)


async def test_idle_memory_is_given_back(monkeypatch):
    """A burst does not hold its memory for ever; afterwards everything goes on as before."""
    monkeypatch.setattr("onnxmesh.rpc.same_host.socket_pipe.TRIM_S", 0.05)
    async with pair() as (link, _, got):
        for number in range(4):
            await link.send(activation(LARGE, number))
        await eventually(lambda: len(got) == 4)
        got.clear()
        gc.collect()
        await eventually(lambda: link._pipe._own.backed_bytes == 0)
        sent = activation(LARGE)
        await link.send(sent)
        await eventually(lambda: got)
        assert same(got[0], sent)


async def test_little_memory_is_told_once_and_done_without(capsys):
    """In a container with little memory at most a quarter of it is shared; the rest goes through the socket."""
    entered = []
    host = UnixListener("b", 1, lambda pipe, hello: entered.append(pipe), may_use_bytes=8 << 20)
    visitor = UnixListener("a", 1, print, may_use_bytes=8 << 20)
    assert host.open()
    running = asyncio.ensure_future(host.run())
    try:
        assert capsys.readouterr().out.count("little_shared_memory") == 1
        ends = [(await visitor.enter(host.address))[0] for _ in range(2)]
        large = activation(1 << 20)
        assert ends[0].share_payloads(large).shared
        assert ends[1].share_payloads(large).shared
        assert ends[0].share_payloads(large) is large
        assert "memory" not in capsys.readouterr().out
        ends[1].close()
        await ends[1].receive(bool)
        await eventually(lambda: ends[0].share_payloads(large).shared)
        ends[0].close()
        await ends[0].receive(bool)
        for pipe in entered:
            pipe.close()
            await pipe.receive(bool)
    finally:
        running.cancel()
        await asyncio.wait([running])
        host.close()


NARROW = """
import asyncio, gc, resource, sys
from onnxmesh.rpc.link.links import Links
from tests.eventually import eventually
from tests.integration.rpc.test_same_host import LARGE, activation, same

async def main():
    got = []
    async with Links("narrow", 1, lambda _, frame: got.append(frame)) as links:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (int(sys.argv[2]) << 20),) * 2)
        link = await links.connect("b", sys.argv[1])
        await link.send(sent := activation(LARGE))
        await eventually(lambda: got, timeout=60)
        assert same(got[0], sent)
        print(type(link._pipe).__name__)

asyncio.run(main())
"""


@pytest.mark.parametrize("spare_megabytes", [1000, 3000])
async def test_a_process_with_little_address_space_is_served(spare_megabytes):
    """Where memory cannot be mapped, its own or its peer's, there is gRPC; tensors arrive whole."""
    echoes = []
    async with Links("b", 1, lambda link, got: echoes.append(asyncio.ensure_future(link.send(got)))) as b:
        server = grpc.aio.server(options=server_options())
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        command = [sys.executable, "-c", NARROW, f"127.0.0.1:{port}", str(spare_megabytes)]
        narrow = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await narrow.communicate()
        await server.stop(None)
        assert narrow.returncode == 0
        assert spare_megabytes < 3000 or said.endswith(b"SocketPipe\n")


VICTIM = """
import asyncio, os, sys
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.links import Links
from tests.integration.rpc.test_same_host import LARGE, activation

async def main():
    async with Links("victim", 1, lambda *_: None) as links:
        link = await links.connect("b", sys.argv[1])
        await link.send(activation(LARGE))
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_process_leaves_nothing():
    """A peer killed with a payload under way is lost at once; what came is readable, and no file or socket is left of it."""
    async with pair() as (_, b, got):
        lost = []
        b._on_lost = lambda link: lost.append(link.peer)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        victim = await asyncio.create_subprocess_exec(sys.executable, "-c", VICTIM, f"127.0.0.1:{port}")
        await eventually(lambda: got, timeout=60)
        victim.kill()
        await victim.wait()
        await eventually(lambda: lost == ["victim"])
        assert len(got[0].payloads[0]) == LARGE
        await server.stop(None)

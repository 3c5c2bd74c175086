"""Two processes of one host: frames over a Unix socket, large payloads in shared memory."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from pathlib import Path

import grpc.aio
import pytest

from onnxmesh.memory.shared_memory import MEMORY_BYTES
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.link.links import LinkEvents, Links
from onnxmesh.rpc.same_host.socket_pipe import SocketPipe
from tests.eventually import eventually
from tests.integration.rpc.same_host.same_host_links import LARGE, activation, pair, same, used_bytes


async def test_large_payload_is_read_in_place():
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


async def test_payloads_are_sent_over_the_socket_while_the_memory_is_full():
    """A payload that does not fit into the memory is sent like any other, whole and in order."""
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


async def test_payload_views_outlive_the_link():
    """A tensor that is in use when its sender disconnects stays readable."""
    async with pair() as (link, _, got):
        sent = activation(LARGE)
        await link.send(sent)
        await eventually(lambda: got)
        link._pipe._transport.abort()
        await link.closed.wait()
    assert same(got[0], sent)


async def test_payload_views_do_not_keep_the_link():
    """Nor, through the link, the objects that keep the view: the memory is unmapped with the last view."""

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


async def test_link_uses_grpc_without_a_unix_socket():
    """A process that is configured without same-host links is connected over gRPC."""
    async with pair(same_host=False) as (link, _, got):
        assert not isinstance(link._pipe, SocketPipe)
        await link.send(activation(100))
        await eventually(lambda: got)


async def test_payload_written_in_place_is_not_copied():
    """A payload in memory that the link allocated is read from there; no other block is used."""
    async with pair() as (link, _, got):
        buffer = link.allocator(LARGE)
        buffer[:] = content = os.urandom(LARGE)
        sent = activation(LARGE)
        await link.send(Frame(sent.header, (buffer.toreadonly(),)))
        await eventually(lambda: got)
        assert used_bytes(link) == LARGE
        assert got[0].payloads[0] == content
        got.clear()
        del buffer
        gc.collect()
        await eventually(lambda: used_bytes(link) == 0)


async def test_cancelled_send_frees_its_memory():
    """Cancelled while its payload is copied, or later."""
    async with pair() as (link, _, got):
        for number in range(20):
            sending = asyncio.ensure_future(link.send(activation(LARGE, number)))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            sending.cancel()
            await asyncio.wait([sending])
        await link.send(activation(100, 99))
        await eventually(lambda: any(frame.header.activation.key.number == 99 for frame in got))
        got.clear()
        gc.collect()
        await eventually(lambda: gc.collect() is not None and used_bytes(link) == 0)


async def test_idle_memory_is_returned_to_the_kernel(monkeypatch):
    """The memory of a burst is returned; frames are sent as before afterwards."""
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


NARROW = """
import asyncio, gc, resource, sys
from onnxmesh.rpc.link.links import Links
from tests.eventually import eventually
from tests.integration.rpc.same_host.same_host_links import LARGE, activation, same

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
async def test_link_works_with_little_address_space(spare_megabytes):
    """Where a process cannot map its own or its peer's memory the link uses gRPC; tensors arrive whole."""
    echoes = []
    async with Links("b", 1, lambda link, got: echoes.append(asyncio.ensure_future(link.send(got)))) as b:
        server = grpc.aio.server(options=server_options())
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        command = [sys.executable, "-c", NARROW, f"127.0.0.1:{port}", str(spare_megabytes)]
        narrow = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        output, _ = await narrow.communicate()
        await server.stop(None)
        assert narrow.returncode == 0
        assert spare_megabytes < 3000 or output.endswith(b"SocketPipe\n")


VICTIM = """
import asyncio, os, sys
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.links import Links
from tests.integration.rpc.same_host.same_host_links import LARGE, activation

async def main():
    async with Links("victim", 1, lambda *_: None) as links:
        link = await links.connect("b", sys.argv[1])
        await link.send(activation(LARGE))
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_killed_peer_is_lost_at_once():
    """A payload that it sent before stays readable."""
    async with pair() as (_, b, got):
        lost = []
        b._events = LinkEvents(on_lost=lambda link: lost.append(link.peer))
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

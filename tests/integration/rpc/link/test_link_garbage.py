"""Objects of a failed stream are freed at once, without the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref

import grpc.aio
import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.link.links import Links
from onnxmesh.v1.frame_pb2 import Cancel, FrameHeader
from tests.eventually import eventually
from tests.fakes.abort_links import abort_links


class Tensors:
    """Stands for tensors that are to be sent, or were received."""


@pytest.fixture
def no_collector():
    """Disables the collector of cycles, which does not run in an idle process either."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@contextlib.asynccontextmanager
async def pair(on_frame=lambda *_: None, same_host=True):
    """Yields the links of one side, the link from there to the other, and the other side's links."""
    async with (
        Links("a", 1, lambda *_: None, same_host=same_host) as a,
        Links("b", 1, on_frame, same_host=same_host) as b,
    ):
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((b.handler(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield a, await a.connect("b", f"127.0.0.1:{port}"), b
        finally:
            await server.stop(None)


async def test_links_free_the_tensors_of_callers_that_could_not_connect(no_collector):
    """Without a server: the tensors of each of several callers are freed with its error."""
    kept = []

    async def forward(links):
        tensors = Tensors()
        kept.append(weakref.ref(tensors))
        with contextlib.suppress(Unavailable):
            await links.connect("b", "127.0.0.1:1")

    async with Links("a", 1, lambda *_: None) as a:
        async with asyncio.TaskGroup() as callers:
            for _ in range(3):
                callers.create_task(forward(a))
        assert [each() for each in kept] == [None] * 3


@pytest.mark.parametrize("same_host", [True, False], ids=["same-host", "grpc"])
async def test_link_frees_the_frame_that_broke_the_stream(no_collector, same_host):
    """A frame that cannot be taken ends the stream, and is not kept by what it raised."""
    kept = []

    def refuse(*_):
        tensors = Tensors()
        kept.append(weakref.ref(tensors))
        raise Unavailable("cannot be taken")

    async with pair(refuse, same_host) as (_, link, _):
        link.send_soon(FrameHeader(cancel=Cancel()))
        await link.closed.wait()
        await eventually(lambda: kept and kept[0]() is None)


async def test_links_free_a_lost_link(no_collector):
    """When the peer is lost, the link and its memory are freed with the last reference to it."""
    async with pair() as (a, link, b):
        link.send_soon(FrameHeader(cancel=Cancel()))
        pipe = weakref.ref(link._pipe)
        await eventually(lambda: b.get("a"))
        abort_links(b)
        await link.closed.wait()
        del link
        await eventually(lambda: a.get("b") is None and pipe() is None)

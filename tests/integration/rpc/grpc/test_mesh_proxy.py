"""Control calls through a proxy to a scheduler, both on real sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import NotFound, Unavailable
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.grpc.mesh_proxy import PREFIX, MeshProxy
from onnxmesh.rpc.grpc.status import from_rpc_error


@asynccontextmanager
async def serving(handler):
    """Yields the address of a server with one handler."""
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    server.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


class Scheduler(grpc.GenericRpcHandler):
    """Answers with what it received."""

    def __init__(self):
        self.metadata = {}

    def service(self, details):
        async def collect(requests, context):
            self.metadata = dict(context.invocation_metadata())
            context.set_trailing_metadata((("served-by", "scheduler"),))
            if details.method.endswith("Fail"):
                raise NotFound("no such model")
            return b"+".join([each async for each in requests])

        return grpc.stream_unary_rpc_method_handler(collect)


@asynccontextmanager
async def proxied(scheduler=None):
    """Yields a channel to the proxy, and the scheduler behind it."""
    it = Scheduler()
    async with serving(it) as behind, Channels() as channels:
        proxy = MeshProxy(channels, lambda: scheduler or behind, [("x-through", "gateway")])
        async with serving(proxy) as address, grpc.aio.insecure_channel(address) as channel:
            yield channel, it


async def test_mesh_proxy_forwards_messages_and_metadata():
    """A stream of requests, its metadata and some more; the answer and its trailing metadata come back."""
    async with proxied() as (channel, scheduler):
        call = channel.stream_unary(PREFIX + "Upload")(iter([b"1", b"2"]), metadata=(("x-client", "me"),))
        assert await call == b"1+2"
        assert dict(await call.trailing_metadata())["served-by"] == "scheduler"
        assert (scheduler.metadata["x-client"], scheduler.metadata["x-through"]) == ("me", "gateway")


async def test_mesh_proxy_forwards_the_status_of_a_failed_call():
    """With its details, so that the client rebuilds the error."""
    async with proxied() as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(PREFIX + "Fail")(b"x")
        assert isinstance(from_rpc_error(caught.value), NotFound)


async def test_mesh_proxy_reports_a_scheduler_that_cannot_be_reached():
    """As unavailable, with its address."""
    async with proxied("127.0.0.1:1") as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(PREFIX + "Status")(b"")
        error = from_rpc_error(caught.value)
        assert isinstance(error, Unavailable)
        assert "the scheduler at 127.0.0.1:1 cannot be reached" in error.message


async def test_mesh_proxy_serves_no_other_service():
    """Its methods are unimplemented here."""
    async with proxied() as (channel, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/other.Service/Status")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

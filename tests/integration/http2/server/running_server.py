"""A real HTTP/2 server in this process, with gRPC's server behind it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace

import grpc
import grpc.aio

from onnxmesh.errors import Overloaded
from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.server import Http2Server
from onnxmesh.service.serving import Serving
from onnxmesh.service.settings.service import ServiceSettings

NO_CAP = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class RunningServer:
    """The server, and what its handlers record.

    Attributes:
        serving: The HTTP/2 server, and gRPC's server behind it.
        contexts: Contexts of the calls, in order of their beginning.
        begun: Calls of `Hold` whose handler began.
        cancelled: Calls whose handler was cancelled.
        go_on: Handlers of `Hold` wait for it.
        streamed: Messages that gRPC's server has received.
    """

    serving: Serving
    contexts: list = field(default_factory=list)
    begun: int = 0
    cancelled: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    streamed: list = field(default_factory=list)

    @property
    def address(self) -> str:
        """HOST:PORT of the HTTP/2 server."""
        return self.serving.address

    @property
    def http2(self) -> Http2Server:
        """The HTTP/2 server alone."""
        assert self.serving.http2 is not None
        return self.serving.http2

    async def echo(self, message, context):
        """Returns the message."""
        self.contexts.append(context)
        return message

    async def hold(self, message, context):
        """Returns the message, once it may."""
        self.begun += 1
        self.contexts.append(context)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return message

    async def large(self, message, context):
        """Returns as many bytes as the message requests."""
        return bytes(int(message))

    async def fail(self, message, context):
        """Fails as a handler may, or by a defect."""
        if message:
            raise Overloaded(message.decode(), retry_after_s=0.25)
        raise ValueError("hush")

    async def behind(self, requests, context):
        """Returns each message of a stream, and ends as the metadata specify."""
        self.contexts.append(context)
        wanted = dict(context.invocation_metadata())
        if "greet" in wanted:
            await context.send_initial_metadata((("greeting", wanted["greet"]), ("data-bin", b"\x00\xff")))
        context.set_trailing_metadata((("trailing-bin", b"\x01"), ("trailing", "bye")))
        try:
            async for message in requests:
                self.streamed.append(message)
                if message == b"hold":
                    await self.go_on.wait()
                await context.write(message)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "fail" in wanted:
            raise Overloaded(wanted["fail"])


def method(name: str) -> str:
    """Returns the path of a method of the HTTP/2 server's own."""
    return f"/test.Edge/{name}"


BEHIND = "/test.Behind/Stream"


@asynccontextmanager
async def running_server(
    max_message_bytes: int = 2**31 - 1,
    decompressor: Decompressor | None = None,
    min_gzip_bytes: float = math.inf,
    **limits,
) -> AsyncIterator[RunningServer]:
    """Starts it; `limits` are those of `ConnectionLimits` and `AbuseLimits`."""
    settings = ServiceSettings(listen="127.0.0.1:0", _cli_parse_args=False)
    serving = Serving(settings, max_message_bytes, with_http2=True, min_gzip_bytes=min_gzip_bytes)
    running = RunningServer(serving)
    http2 = running.http2
    abuse = {each.name: limits.pop(each.name) for each in fields(AbuseLimits) if each.name in limits}
    http2._service = replace(
        http2._service,
        limits=ConnectionLimits(max_message_bytes=max_message_bytes, abuse=AbuseLimits(**abuse), **limits),
        decompressor=decompressor or http2._decompressor,
    )
    http2.add(method("Echo"), running.echo)
    http2.add(method("Hold"), running.hold)
    http2.add(method("Large"), running.large)
    http2.add(method("Fail"), running.fail)
    behind = grpc.stream_stream_rpc_method_handler(running.behind)
    serving.server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Behind", {"Stream": behind}),)
    )
    await serving.start()
    try:
        yield running
    finally:
        await serving.stop(0)


@asynccontextmanager
async def channel_to(server: RunningServer, *options) -> AsyncIterator[grpc.aio.Channel]:
    """Opens a client with a connection of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(server.address, [*NO_CAP, own, *options]) as channel:
        yield channel

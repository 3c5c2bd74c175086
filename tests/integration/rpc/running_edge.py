"""A real edge in this process, with gRPC's server behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import grpc
import grpc.aio

from onnxmesh.errors import Overloaded
from onnxmesh.http2.protocol.limits import EdgeLimits
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.http2.server.server import EdgeServer
from onnxmesh.service.serving import ServiceSettings, Serving

NO_CAP = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class RunningEdge:
    """What a test drives and watches.

    Attributes:
        serving: Edge and server.
        contexts: Of the calls that came, in order.
        begun: Calls whose handler began.
        cancelled: Calls whose handler was cancelled.
        go_on: Handlers of `Hold` wait for it.
        streamed: Messages that the server behind has received.
    """

    serving: Serving
    contexts: list = field(default_factory=list)
    begun: int = 0
    cancelled: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    streamed: list = field(default_factory=list)

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return self.serving.address

    @property
    def edge(self) -> EdgeServer:
        """The edge alone."""
        assert self.serving.edge is not None
        return self.serving.edge

    async def echo(self, message, context):
        """The same again."""
        self.contexts.append(context)
        return message

    async def hold(self, message, context):
        """The same again, once it may."""
        self.begun += 1
        self.contexts.append(context)
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return message

    async def large(self, message, context):
        """As many bytes as the message says."""
        return bytes(int(message))

    async def fail(self, message, context):
        """A failure that is expected, or one that is not."""
        if message:
            raise Overloaded(message.decode(), retry_after_s=0.25)
        raise ValueError("hush")

    async def behind(self, requests, context):
        """Streams: says each message again, and ends as the metadata wish."""
        self.contexts.append(context)
        wishes = dict(context.invocation_metadata())
        if "greet" in wishes:
            await context.send_initial_metadata((("greeting", wishes["greet"]), ("data-bin", b"\x00\xff")))
        context.set_trailing_metadata((("said-bin", b"\x01"), ("said", "bye")))
        try:
            async for message in requests:
                self.streamed.append(message)
                if message == b"hold":
                    await self.go_on.wait()
                await context.write(message)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "fail" in wishes:
            raise Overloaded(wishes["fail"])


def method(name: str) -> str:
    """The path of a method of the edge's."""
    return f"/test.Edge/{name}"


BEHIND = "/test.Behind/Stream"


@asynccontextmanager
async def running_edge(
    max_message_bytes: int = 2**31 - 1, inflater: Decompressor | None = None, **limits
) -> AsyncIterator[RunningEdge]:
    """Starts it; `limits` are those of `EdgeLimits`; None: it uncompresses with one of its own."""
    settings = ServiceSettings(listen="127.0.0.1:0", _cli_parse_args=False)
    serving = Serving(settings, max_message_bytes, with_edge=True)
    running = RunningEdge(serving)
    edge = running.edge
    limited = EdgeLimits(max_message_bytes, **limits)
    edge._service = replace(edge._service, limits=limited, inflater=inflater or edge._inflater)
    edge.add(method("Echo"), running.echo)
    edge.add(method("Hold"), running.hold)
    edge.add(method("Large"), running.large)
    edge.add(method("Fail"), running.fail)
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
async def channel_to(edge: RunningEdge, *options) -> AsyncIterator[grpc.aio.Channel]:
    """A client with a connection of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(edge.address, [*NO_CAP, own, *options]) as channel:
        yield channel

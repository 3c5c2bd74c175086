"""A follower's route table and its watchers, through a change of the leader: over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio

from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.rpc.grpc.channel import open_channel, server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.rpc.grpc.mesh_proxy import MeshProxy
from onnxmesh.v1.mesh_pb2 import RouteTable, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer, MeshStub, add_MeshServicer_to_server
from services.scheduler.publishing.mesh_switch import MeshSwitch
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.route_table.published_table import PublishedTable
from tests.eventually import eventually
from tests.fakes.route_changes import changed
from tests.fakes.routed_models import routed_model


def model(name, worker="a"):
    return routed_model([[(worker, f"{worker}:1")]], name=name)


class Leader(MeshServicer):
    """Publishes the routes that a test sets."""

    def __init__(self, term):
        self.publisher = Publisher(term)

    def publish(self, *models):
        now = self.publisher.table.models
        made = {(each.name, each.version): each for each in models}
        kept = {key: now[key] if now.get(key) == each else each for key, each in made.items()}
        self.publisher.publish(kept, {})

    async def WatchRoutes(self, request, context):  # noqa: N802 - the protocol's name
        async for update in self.publisher.watch():
            yield update


@asynccontextmanager
async def serving(add):
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
    add(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class Follower:
    """A scheduler that does not lead, and one watcher of it.

    Attributes:
        kinds: Of each message that the watcher got.
        table: What the messages add up to.
    """

    def __init__(self):
        self.relay = RouteRelay("follower")
        self.kinds = []
        self.table = RouteTable()
        self._following = None

    async def follow(self, address):
        """Follows another leader from now on."""
        await self.leave()
        channel = open_channel(address)

        async def run():
            async with channel:
                await self.relay.follow(MeshStub(channel))

        self._following = asyncio.ensure_future(run())

    async def leave(self):
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def watch(self, address):
        async with open_channel(address) as channel:
            async for update in MeshStub(channel).WatchRoutes(WatchRoutesRequest(gateway="g")):
                self.kinds.append(update.WhichOneof("kind"))
                self.table = changed(self.table, update)

    @property
    def names(self):
        return sorted(each.name for each in self.table.models)


@asynccontextmanager
async def following():
    follower = Follower()

    def add(server):
        switch = MeshSwitch(follower.relay, lambda: None, MeshProxy(None, lambda: ""))
        server.add_generic_rpc_handlers((switch,))

    async with serving(add) as address:
        watching = asyncio.ensure_future(follower.watch(address))
        try:
            yield follower, address
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await follower.leave()


async def test_watchers_of_a_follower_get_changes_and_the_whole_from_another_leader():
    """First the whole, then what changes, as from the leader itself; a watcher that joins late starts with the whole."""
    first, second = Leader(100), Leader(2000)
    async with AsyncExitStack() as stack:
        leaders = [
            await stack.enter_async_context(
                serving(lambda server, each=each: add_MeshServicer_to_server(each, server))
            )
            for each in (first, second)
        ]
        follower, address = await stack.enter_async_context(following())
        await follower.follow(leaders[0])
        first.publish(model("m"), model("n"))
        await eventually(lambda: follower.names == ["m", "n"])
        first.publish(model("m"), model("n", "b"), model("o"))
        await eventually(lambda: follower.names == ["m", "n", "o"])
        first.publish(model("m"))
        await eventually(lambda: follower.names == ["m"])
        assert follower.kinds == ["whole", "change", "change"]
        await follower.follow(leaders[1])
        second.publish(model("m"), model("p"))
        await eventually(lambda: follower.names == ["m", "p"])
        assert follower.table.epoch > 2000
        second.publish(model("p"))
        await eventually(lambda: follower.names == ["p"])
        assert follower.kinds == ["whole", "change", "change", "whole", "change"]
        # The first leader publishes more: an older epoch changes nothing.
        await follower.follow(leaders[0])
        first.publish(model("q"))
        async with open_channel(address) as channel:
            call = MeshStub(channel).WatchRoutes(WatchRoutesRequest(gateway="late"))
            late = await call.read()
            call.cancel()
        assert RoutingTable.from_proto(late.whole).names == ("p",)


async def test_watchers_of_a_follower_that_becomes_the_leader_get_the_whole():
    """Its own tables begin a new lineage; after the first only changes are sent."""
    async with following() as (follower, _):
        follower.relay.accept(PublishedTable.from_proto(RouteTable(epoch=5, models=[model("m")])))
        await eventually(lambda: follower.names == ["m"])
        own = Leader(50)

        async def lead():
            async for table in own.publisher.tables():
                follower.relay.accept(table)

        leading = asyncio.ensure_future(lead())
        own.publish(model("m"), model("n"))
        await eventually(lambda: follower.names == ["m", "n"])
        own.publish(model("n"))
        await eventually(lambda: follower.names == ["n"])
        assert follower.kinds == ["whole", "whole", "change"]
        leading.cancel()
        await asyncio.wait([leading])

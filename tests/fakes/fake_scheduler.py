"""A scheduler on a real socket that publishes the route tables a test gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc.aio

from onnxmesh.errors import NotFound
from onnxmesh.latest import Latest
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.v1 import mesh_pb2, registry_pb2
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer, add_MeshServicer_to_server
from onnxmesh.v1.registry_pb2_grpc import RegistryServicer, add_RegistryServicer_to_server
from tests.fakes.route_changes import change_between


class FakeScheduler(MeshServicer, RegistryServicer):
    """Serves Mesh and Registry.

    Attributes:
        address: HOST:PORT once it runs.
        instances: The registered instances, by id.
        uploads: For each Deploy call the kinds of its messages; `disconnected` at the end if the client disconnected.
        deadlines: Seconds that Status calls had left.
        metadata: Of the last Status call.
        refuse_uploads: Whether Deploy reads everything and ends with an error.
        num_watches: Number of streams of route tables that were opened.
    """

    def __init__(self) -> None:
        self.address = ""
        self.instances: dict[str, registry_pb2.Instance] = {}
        self.uploads: list[list[str]] = []
        self.deadlines: list[float | None] = []
        self.metadata: dict[str, str | bytes] = {}
        self.refuse_uploads = False
        self.num_watches = 0
        self._table: mesh_pb2.RouteTable | None = None
        self._updates: list[mesh_pb2.RouteUpdate] = []
        self._sent = Latest(0)
        self._epoch = 0

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[FakeScheduler]:
        """Serves until the block ends."""
        server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
        add_MeshServicer_to_server(self, server)
        add_RegistryServicer_to_server(self, server)
        self.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)

    def publish(self, *models: mesh_pb2.RoutedModel, workers: Sequence[mesh_pb2.RoutedWorker] = ()) -> None:
        """Publishes a table; watchers receive the changes."""
        self._epoch += 1
        before = self._table
        self._table = mesh_pb2.RouteTable(epoch=self._epoch, models=models, workers=workers)
        if before is None:
            self._sent.set(0)
        else:
            self.send_update(mesh_pb2.RouteUpdate(change=change_between(before, self._table)))

    def send_update(self, update: mesh_pb2.RouteUpdate) -> None:
        """Sends any message to the current watchers."""
        self._updates.append(update)
        self._sent.set(len(self._updates))

    async def WatchRoutes(self, request, context):  # noqa: N802 - the protocol's name
        self.num_watches += 1
        revision, num_seen = await self._sent.after(0)
        while self._table is None:
            revision, num_seen = await self._sent.after(revision)
        yield mesh_pb2.RouteUpdate(whole=self._table)
        while True:
            for update in self._updates[num_seen:]:
                num_seen += 1
                yield update
            revision, _ = await self._sent.after(revision)

    async def Register(self, request_iterator, context):  # noqa: N802 - the protocol's name
        id_ = ""
        try:
            async for request in request_iterator:
                if request.HasField("instance"):
                    id_ = request.instance.id
                    self.instances[id_] = request.instance
                await context.write(registry_pb2.RegisterResponse())
        finally:
            self.instances.pop(id_, None)

    async def Status(self, request, context):  # noqa: N802 - the protocol's name
        self.deadlines.append(context.time_remaining())
        self.metadata = dict(context.invocation_metadata())
        return mesh_pb2.StatusResponse(epoch=self._epoch)

    async def Undeploy(self, request, context):  # noqa: N802 - the protocol's name
        raise NotFound(f"unknown model '{request.name}'", retry_after_s=1.5)

    async def Deploy(self, request_iterator, context):  # noqa: N802 - the protocol's name
        if self.refuse_uploads:
            async for _ in request_iterator:
                pass
            raise NotFound("no space for uploads")
        kinds: list[str] = []
        self.uploads.append(kinds)
        try:
            async for request in request_iterator:
                kinds.append(request.WhichOneof("kind"))
                if kinds[-1] == "file":
                    await context.write(mesh_pb2.DeployProgress(message=request.file.path))
                if kinds[-1] == "end":
                    await context.write(mesh_pb2.DeployProgress(phase=mesh_pb2.DeployProgress.READY))
                    return
        finally:
            if kinds[-1:] != ["end"]:
                kinds.append("disconnected")

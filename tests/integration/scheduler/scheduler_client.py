"""Calls of a scheduler that the tests of this folder share."""

from __future__ import annotations

import asyncio

import grpc.aio

from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.mesh_pb2 import (
    DeployProgress,
    DeployRequest,
    FileStart,
    RouteTable,
    StatusRequest,
    UndeployRequest,
    Upload,
    WatchRoutesRequest,
)
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from onnxmesh.v1.model_pb2 import DeploymentSpec
from tests.eventually import eventually
from tests.fakes.fake_worker import CONNECTED_WAIT_US
from tests.fakes.route_changes import changed


def upload(content=b"weights", *, files=None, **spec):
    """The messages of a whole upload."""
    files = {"model.onnx": content} if files is None else files
    messages = [DeployRequest(spec=DeploymentSpec(**({"name": "m"} | spec)))]
    for path, data in files.items():
        messages.append(DeployRequest(file=FileStart(path=path, byte_size=len(data))))
        messages.extend(DeployRequest(data=data[i : i + 3]) for i in range(0, len(data), 3))
    return [*messages, DeployRequest(end=Upload(num_files=len(files)))]


class SchedulerClient:
    """One client of a scheduler, which also watches its routes as a gateway does."""

    def __init__(self, address):
        self.address = address
        self.tables = []

    async def __aenter__(self):
        self.channel = open_channel(self.address)
        self.stub = MeshStub(self.channel)
        self._watch = asyncio.ensure_future(self._follow())
        return self

    async def __aexit__(self, *failure):
        self._watch.cancel()
        await asyncio.wait([self._watch])
        await self.channel.close()

    async def _follow(self):
        while True:
            table = RouteTable()
            try:
                async for update in self.stub.WatchRoutes(
                    WatchRoutesRequest(gateway="g"), wait_for_ready=True
                ):
                    table = changed(table, update)
                    self.tables.append(table)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)

    async def send(self, messages):
        """Sends messages to `Deploy`; returns the answers or raises the mesh error."""
        try:
            return [answer async for answer in self.stub.Deploy(iter(messages))]
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def deploy(self, content=b"weights", **spec):
        """Deploys a model of one file; returns its status."""
        answers = await self.send(upload(content, **spec))
        assert answers[-1].phase == DeployProgress.READY
        await self.caught_up()
        return answers[-1].model

    async def undeploy(self, name, version=0):
        try:
            return list((await self.stub.Undeploy(UndeployRequest(name=name, version=version))).versions)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from None

    async def status(self):
        return await self.stub.Status(StatusRequest())

    async def until(self, condition):
        """Waits until the status of the mesh meets a condition; returns it."""
        while not condition(status := await self.status()):  # noqa: ASYNC110 - the status is behind a call
            await asyncio.sleep(0.01)
        return status

    async def caught_up(self):
        """Waits until the watch has the newest table."""
        epoch = (await self.status()).epoch
        await eventually(lambda: self.tables and self.tables[-1].epoch >= epoch)

    async def joined(self, *workers):
        """Waits until the workers are registered, and the scheduler knows what they hold."""
        for worker in workers:
            await worker.registration.wait()
        ids = {worker.id for worker in workers}
        await self.until(
            lambda status: (
                ids <= {each.id for each in status.workers if each.load.expected_wait_us == CONNECTED_WAIT_US}
            )
        )

    @property
    def addresses(self):
        """Every address in the newest table."""
        models = self.tables[-1].models if self.tables else ()
        return {r.address for model in models for stage in model.stages for r in stage.replicas}

    @property
    def routes(self):
        """The newest table: `{"m/1": [{"a"}, {"b"}]}` is a model of two stages, on a and b."""
        if not self.tables:
            return None
        return {
            f"{model.name}/{model.version}": [{r.worker for r in stage.replicas} for stage in model.stages]
            for model in self.tables[-1].models
        }

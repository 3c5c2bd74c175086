"""A worker that cuts and loads nothing: real gRPC, fixed replies."""

from __future__ import annotations

import asyncio
import itertools
import time
from contextlib import AsyncExitStack

import grpc.aio

from onnxmesh.discovery.embedded_registrar import EmbeddedRegistrar
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import MeshError
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import DeviceTimes, Profile
from onnxmesh.model.signature import Signature
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.store.artefact import artefact_of, model_file
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.store.fetch import fetch_artefact
from onnxmesh.store.servicer import BlobFolderServicer
from onnxmesh.v1 import model_pb2
from onnxmesh.v1.blobs_pb2_grpc import add_BlobsServicer_to_server
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.model_pb2 import File, Partition, TensorSpec
from onnxmesh.v1.worker_pb2 import (
    CutResponse,
    Draining,
    Holding,
    Leaving,
    MeasuredLink,
    MeasureLinksResponse,
    PrepareResponse,
    StageEvicted,
    StageFailed,
    StageLoaded,
    WorkerEvent,
)
from onnxmesh.v1.worker_pb2_grpc import WorkerControlServicer, add_WorkerControlServicer_to_server

NUM_NODES = 8
"""Nodes of every model, all alike: any cut is legal."""

CONNECTED_WAIT_US = 1
"""The load that a worker reports once it has reported what it holds: it is connected where this is known."""

_generations = itertools.count(time.time_ns())


class FakeWorker(WorkerControlServicer):
    """Registers, prepares any bytes as a model of `NUM_NODES` nodes, cuts it into text files, "loads" them.

    Use as an async context manager; `die` ends it as abruptly as a process dies.

    Attributes:
        held: Digest by stage; survives the scheduler.
        commands: The received commands, such as `place m/1/0`, in order.
        calls: Names of the received unary calls.
        refuse: What `Prepare` raises, by content of the model; None: nothing.
        require: Requirements in `Prepare`'s reply.
        lacking: Why this worker does not meet them, in `Prepare`'s reply; empty: it does.
        fail: Raised instead of loading, by stage.
        loading: Cleared: loading of stages waits.
        evicting: Cleared: stages wait with being evicted.
        preparing: Cleared: `Prepare` waits.
        requests: The requests of `Prepare`, in order.
        node_flops: Cost of each node of a model.
        working_bytes: Working memory of each node of a model.
        profile: Time of each node in `Prepare`'s reply, in seconds; None: they are not measured.
        largest_difference: The difference in `Cut`'s reply.
        salt: Part of every partition, so that another salt gives other digests.
        link: The reply of `MeasureLinks` for every link.
        leaving: Whether it is to be drained.
    """

    def __init__(self, id_, scheduler, folder, *, tags=(), attributes=None, held=None):
        self.id = id_
        self.scheduler = scheduler
        self.blobs = BlobFolder(folder / id_)
        self.tags = tags
        self.attributes = {"cpu.class": "x86", "device": "cpu"} | (attributes or {})
        self.held = dict(held or {})
        self.commands = []
        self.calls = []
        self.refuse = {}
        self.require = ()
        self.lacking = ""
        self.fail = {}
        self.loading = asyncio.Event()
        self.loading.set()
        self.evicting = asyncio.Event()
        self.evicting.set()
        self.preparing = asyncio.Event()
        self.preparing.set()
        self.requests = []
        self.node_flops = 10**9
        self.working_bytes = 0
        self.profile = None
        self.largest_difference = 0.0
        self.salt = b""
        self.link = MeasuredLink(latency_s=1e-4, bytes_per_s=1e9)
        self.leaving = False
        self.generation = next(_generations)
        self._prepared = {}
        self.managing = []
        self._stack = AsyncExitStack()

    async def __aenter__(self):
        self.server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
        port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        add_WorkerControlServicer_to_server(self, self.server)
        add_BlobsServicer_to_server(BlobFolderServicer(self.blobs), self.server)
        await self.server.start()
        instance = Instance(
            self.id, "worker", self.address, self.generation, tuple(self.tags), self.attributes
        )
        registrar = EmbeddedRegistrar(self.scheduler, heartbeat_s=0.2)
        self.registration = await self._stack.enter_async_context(registrar.register(instance))
        return self

    async def __aexit__(self, *failure):
        await self.die()

    async def die(self):
        """Ends registration and server at once."""
        await self._stack.aclose()
        await self.server.stop(None)

    async def drain(self):
        """Reports that it accepts no new stages."""
        for context in self.managing:
            await context.write(WorkerEvent(draining=Draining()))

    async def leave(self):
        """Reports that it is to be drained, as a worker that is about to stop does."""
        self.leaving = True
        for context in self.managing:
            await context.write(WorkerEvent(leaving=Leaving()))

    async def Prepare(self, request, context):  # noqa: N802 - the protocol's name
        self.calls.append("Prepare")
        self.requests.append(request)
        await fetch_artefact(request.model, self.blobs, list(request.sources))
        content = self.blobs.path(model_file(request.model).sha256).read_bytes()
        await self.preparing.wait()
        if content in self.refuse:
            raise self.refuse[content]
        if self.lacking:
            return PrepareResponse(require=self.require, lacking=self.lacking)
        profile = GraphCosts(
            tuple(
                NodeCost(f"n{i}", "Add", self.node_flops, 10**6, (), self.working_bytes)
                for i in range(NUM_NODES)
            ),
            tuple(Boundary(16, 1) for _ in range(NUM_NODES - 1)),
            (),
            (),
            Signature((), ()),
        )
        self._prepared[request.model.digest] = content
        tensor = TensorSpec(name="x", datatype="FP32", shape=[-1])
        return PrepareResponse(
            prepared=request.model.digest,
            signature=model_pb2.Signature(inputs=[tensor], outputs=[tensor]),
            costs=profile.to_json().encode(),
            profile=self._profile(request) if request.profile_s > 0 and self.profile else b"",
            require=self.require,
        )

    def _profile(self, request):
        measured = DeviceTimes((self.profile,) * NUM_NODES, DeviceSpeed())
        kind = self.attributes.get("device.kind", "")
        level = OptimisationLevel(request.optimisation)
        return Profile(request.model.digest, level, {}, {kind: measured}).to_json().encode()

    async def MeasureLinks(self, request, context):  # noqa: N802 - the protocol's name
        self.calls.append("MeasureLinks")
        return MeasureLinksResponse(links=[self.link for _ in request.addresses])

    async def Cut(self, request, context):  # noqa: N802 - the protocol's name
        self.calls.append("Cut")
        content = self._prepared[request.prepared]
        edges = [0, *request.cuts, NUM_NODES]
        partitions = []
        for index, (start, end) in enumerate(itertools.pairwise(edges)):
            with self.blobs.writer() as writer:
                writer.write(self.salt + b"%d %d of " % (start, end) + content)
                sha256, size = writer.commit()
            artefact = artefact_of([File(path="model.onnx", sha256=sha256, byte_size=size)])
            partitions.append(Partition(index=index, artefact=artefact, num_nodes=end - start))
        return CutResponse(partitions=partitions, largest_difference=self.largest_difference)

    async def Manage(self, request_iterator, context):  # noqa: N802 - the protocol's name
        loaded = [StageLoaded(stage=stage, digest=digest) for stage, digest in sorted(self.held.items())]
        await context.write(WorkerEvent(holding=Holding(stages=loaded, leaving=self.leaving)))
        await context.write(WorkerEvent(load=Load(expected_wait_us=CONNECTED_WAIT_US)))
        self.managing.append(context)
        async for command in request_iterator:
            if command.WhichOneof("kind") == "place_stage":
                event = await self._load(command.place_stage)
            elif command.WhichOneof("kind") == "drain":
                self.leaving = not command.drain.undo
                event = WorkerEvent(leaving=Leaving(undone=command.drain.undo))
            elif command.WhichOneof("kind") == "depart":
                self.commands.append("depart")
                continue
            else:
                stage = command.evict_stage.stage
                self.commands.append(f"evict {stage}")
                await self.evicting.wait()
                self.held.pop(stage, None)
                event = WorkerEvent(stage_evicted=StageEvicted(stage=stage))
            await context.write(event)

    async def _load(self, place):
        self.commands.append(f"place {place.stage}")
        await self.loading.wait()
        try:
            if place.stage in self.fail:
                raise self.fail[place.stage]
            await fetch_artefact(place.partition.artefact, self.blobs, list(place.sources))
        except MeshError as error:
            failed = StageFailed(stage=place.stage, reason=error.reason, message=error.message)
            return WorkerEvent(stage_failed=failed)
        self.held[place.stage] = place.partition.artefact.digest
        loaded = StageLoaded(stage=place.stage, digest=place.partition.artefact.digest, load_s=0.01)
        return WorkerEvent(stage_loaded=loaded)

"""A request path and its dispatcher between a test and its fake workers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random

from onnxmesh.deadline import Deadline
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import difference
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.request_path import RequestPath
from services.gateway.requests.inference_request import InferenceRequest
from services.gateway.requests.request_options import RequestOptions
from services.gateway.routes.router import Router
from tests.eventually import eventually
from tests.fakes.clock import Clock
from tests.fakes.fake_worker_links import FakeWorkerLinks
from tests.fakes.routed_models import routed_model

INPUT = Tensor("x", Datatype.FP32, (1, 1), b"\0\0\x80\x3f")
NOW_NS = 1_000_000
OPTIONS = ("timeout_s", "trace", "require", "prefer", "session", "priority")


class Bench:
    """A request path without coalescing, its fake streams, and the frames that workers send."""

    def __init__(self, *workers, max_attempts=3, split=True):
        self.clock = Clock(100.0)
        self.links = FakeWorkerLinks(*workers)
        self.router = Router("g", self.links, rng=Random(7), clock=self.clock)
        self.dispatcher = Dispatcher(
            "g",
            self.links,
            self.router,
            max_attempts=max_attempts,
            clock=self.clock,
            unix_ns=lambda: NOW_NS,
        )
        self.path = RequestPath(self.dispatcher, self.router, split=split, coalesce=False, clock=self.clock)

    def update(self, table):
        """Puts a table in force."""
        self.path.update(table, difference(self.router.table, table))

    def routes(self, *stages, leaving=(), **changes):
        """Puts a table in force: for each stage the workers that hold it, and those that are leaving."""
        model = routed_model(
            [[(worker, f"{worker}:1") for worker in workers] for workers in stages], **changes
        )
        workers = [RoutedWorker(worker=worker, leaving=True) for worker in leaving]
        self.update(RoutingTable.from_proto(RouteTable(models=[model], workers=workers)))

    def new_request(self, **changes):
        options = {name: changes.pop(name) for name in OPTIONS if name in changes}
        given = {
            "model": self.router.table.find("m", ""),
            "tensors": (INPUT,),
            "deadline": Deadline.after(60, self.clock),
            "request_id": "r",
            "requested_outputs": (),
            "options": RequestOptions(**options),
        }
        return InferenceRequest(**{**given, **changes})

    async def infer(self, request):
        return await self.path.entry.infer(request)

    @asynccontextmanager
    async def inferring(self, **changes):
        """A request that runs beside the test; yields its task."""
        task = asyncio.ensure_future(self.infer(self.new_request(**changes)))
        await asyncio.sleep(0)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert self.dispatcher.num_in_flight == 0

    async def activation(self, worker, index=0):
        """The activation that a worker was sent, once it was."""
        sent = self.links.streams[worker].sent
        await eventually(lambda: len(sent) > index)
        return sent[index].header.activation

    def answer(self, worker, activation, timings=(), payload=b"1234"):
        result = frame_pb2.Result(
            key=activation.key,
            tensors=[frame_pb2.Tensor(name="y", datatype="FP32", shape=[1, 1], byte_size=4)],
            timings=timings,
            sent_unix_ns=NOW_NS - 5_000,
        )
        self.dispatcher.on_frame(worker, Frame(frame_pb2.FrameHeader(result=result), (payload,)))

    def refuse(self, worker, activation, reason, *, retriable, at_fault="", retry_after_ms=0):
        failure = frame_pb2.Failure(
            key=activation.key,
            reason=reason,
            message=f"{reason} it is",
            worker=at_fault,
            retriable=retriable,
            retry_after_ms=retry_after_ms,
        )
        self.dispatcher.on_frame(worker, Frame(frame_pb2.FrameHeader(failure=failure)))

    def report_load(self, worker, queued):
        load = frame_pb2.FrameHeader(load=frame_pb2.Load(queued=queued))
        self.dispatcher.on_frame(worker, Frame(load))

    def lose(self, worker):
        stream = self.links.streams[worker]
        stream.is_open = False
        self.dispatcher.on_lost(worker, stream)

    def suspect(self, worker, suspected=True):
        stream = self.links.streams[worker]
        stream.is_suspect = suspected
        self.dispatcher.on_suspicion(worker, stream)

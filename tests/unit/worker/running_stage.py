"""A stage runner with a session that waits for the test, a gateway link and a clock."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from onnxmesh.ids import WorkerId
from onnxmesh.v1.frame_pb2 import Load
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.stages.stage_runner import StageLimits, StageRunner
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from services.worker.streams.outbound import Outbound
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.stage_requests import spec


class GatewayLink:
    """A link to a gateway that keeps what is sent on it."""

    is_open = True
    allocator = None

    def __init__(self, peer="gateway"):
        self.peer = peer
        self.frames = []
        self.headers = []

    def try_send(self, frame):
        self.frames.append(frame)
        return True

    def send_soon(self, header):
        self.headers.append(header)

    @property
    def failures(self):
        return [header.failure for header in self.headers if header.HasField("failure")]

    @property
    def loads(self):
        return [header.load for header in self.headers if header.HasField("load")]


class Stage:
    """A runner and its surroundings.

    Attributes:
        link: The link to gateway `gateway`; None: it is disconnected.
        others: Links to other gateways by name.
        delivered: Requests for other stages of this worker.
    """

    def __init__(self, session, queue_size, direct=(), clock=None, batching=None, cpu_class="", at_once=1):
        self.session = session
        self.others = {}
        self.now_s = 0.0
        self.link = GatewayLink()
        self.counters = RequestCounters()
        self.cancellations = Cancellations()
        self.delivered = []
        replies = GatewayReplies(
            WorkerId("w"),
            lambda peer: self.link if peer == "gateway" else self.others.get(peer),
            counters=self.counters,
            load=Load,
            clock=lambda: self.now_s,
        )
        forwarder = Forwarder(
            WorkerId("w"), None, replies, counters=self.counters, deliver=self.delivered.append
        )
        stage = spec("m/1/1" if direct else "m/1/0", direct=direct, batching=batching)
        self.runner = StageRunner(
            stage.on_cpu_class(cpu_class),
            session,
            Outbound(forwarder, replies),
            cancellations=self.cancellations,
            limits=StageLimits(queue_size, runs_at_once=at_once),
            clock=clock or (lambda: self.now_s),
        )

    def cancel(self, number):
        self.cancellations.add(RequestKey("gateway", number, 0))
        self.runner.cancel(RequestKey("gateway", number, 0))

    @property
    def counts(self):
        return self.counters.completed, self.counters.dropped, self.counters.failed

    async def settled(self):
        await asyncio.wait_for(self.runner.wait_idle(), 300)
        assert self.runner.num_queued == self.runner.num_running == self.runner.in_flight_bytes == 0


@asynccontextmanager
async def running(session=None, queue_size=8, **more):
    stage = Stage(session or GatedSession(), queue_size, **more)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(stage.runner.run())
        try:
            yield stage
        finally:
            stage.session.release(100)
            task.cancel()


def joining(session=None, **more):
    """Runs a stage with the direct input `u`."""
    return running(session or GatedSession(opened=True), direct=("u",), **more)

"""The output of a stage."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.ids import WorkerId
from onnxmesh.v1.frame_pb2 import HopTiming, Load
from services.worker.requests.request_counters import RequestCounters
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from services.worker.streams.outbound import Outbound
from services.worker.streams.stage_output import StageOutput
from tests.unit.worker.running_stage import GatewayLink
from tests.unit.worker.stage_requests import last, request, spec, tensor


class SlowGateway(GatewayLink):
    """A link on which every Result has to wait until `opened`."""

    estimate = None
    same_host = True

    def __init__(self):
        super().__init__()
        self.opened = asyncio.Event()
        self.allocator = object()

    def try_send(self, frame):
        return False

    async def send(self, frame):
        await self.opened.wait()
        self.frames.append(frame)


class Output:
    """The output of stage m/1/0 on worker `w`."""

    def __init__(self, link, tasks):
        self.counters = RequestCounters()
        self.delivered = []
        self.settled = []
        replies = GatewayReplies(
            WorkerId("w"),
            {"gateway": link}.get,
            counters=self.counters,
            load=Load,
        )
        forwarder = Forwarder(
            WorkerId("w"), None, replies, counters=self.counters, deliver=self.delivered.append
        )
        self.output = StageOutput(
            spec(), Outbound(forwarder, replies), tasks=tasks, settle=self.settled.append, clock=lambda: 5.0
        )

    async def send(self, it):
        await self.output.send(it, {"y": tensor("y")}, HopTiming())


async def test_stage_output_sends_results_and_delivers_locally():
    """Each request is settled with its bytes once it is sent."""
    link = GatewayLink()
    async with asyncio.TaskGroup() as tasks:
        it = Output(link, tasks)
        await it.send(last(1))
        await it.send(request(2))
    assert [frame.header.result.key.number for frame in link.frames] == [1]
    assert [each.key.number for each in it.delivered] == [2]
    assert it.settled == [4, 4]
    assert it.counters.completed == 2


async def test_stage_output_does_not_wait_for_a_slow_link_and_fails_what_is_cancelled():
    """A request that was not sent when the stage ends is refused and settled."""
    link = SlowGateway()
    group = asyncio.TaskGroup()
    await group.__aenter__()
    it = Output(link, group)
    await it.send(last(1))
    await it.send(last(2))
    assert (link.frames, it.settled) == ([], [])
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await group.__aexit__(None, None, None)
    assert sorted(failure.key.number for failure in link.failures) == [1, 2]
    assert {failure.reason for failure in link.failures} == {"STAGE_GONE"}
    assert it.settled == [4, 4]


async def test_stage_output_raises_for_an_output_that_does_not_exist():
    """The caller settles that request."""
    async with asyncio.TaskGroup() as tasks:
        it = Output(GatewayLink(), tasks)
        with pytest.raises(InvalidRequest, match="'z'"):
            await it.send(last(1, outputs=["z"]))
    assert it.settled == []


async def test_stage_output_has_an_allocator_where_all_requests_go_to_one_peer():
    """Not where they go to several, and not for a stage of this worker."""
    link = SlowGateway()
    async with asyncio.TaskGroup() as tasks:
        it = Output(link, tasks).output
        assert it.allocator([last(1), last(2)]) is link.allocator
        assert it.allocator([last(1), request(2)]) is None
        assert it.allocator([request(2)]) is None
        assert it.all_local([request(1), request(2)])
        assert not it.all_local([request(1), last(2)])

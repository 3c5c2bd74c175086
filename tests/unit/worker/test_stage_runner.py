"""A stage at work, with a model that waits for the test and a gateway that only listens."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import asynccontextmanager

import numpy as np
import pytest

from onnxmesh.errors import ModelRunFailed, Overloaded
from onnxmesh.ids import WorkerId
from onnxmesh.v1.frame_pb2 import Load
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_key import RequestKey
from services.worker.stages.stage_runner import StageRunner
from services.worker.streams.forwarder import Forwarder
from services.worker.streams.gateway_replies import GatewayReplies
from tests.eventually import eventually
from tests.fakes.gated_session import GatedSession
from tests.unit.worker.stage_requests import part, request, tensor


class ListeningLink:
    """A link to a gateway: keeps what is sent on it."""

    peer = "gateway"
    is_open = True
    allocator = None

    def __init__(self):
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


class Stage:
    """A runner and everything around it that can be looked at."""

    def __init__(self, session, queue_size, direct=(), clock=None, batching=None, cpu_class="", at_once=1):
        self.session = session
        self.others = {}
        self.now_s = 0.0
        self.link = ListeningLink()
        self.tally = RequestCounters()
        self.cancellations = Cancellations()
        self.handed_over = []
        origins = GatewayReplies(
            WorkerId("w"),
            lambda peer: self.link if peer == "gateway" else self.others.get(peer),
            self.tally,
            Load,
            lambda: self.now_s,
        )
        forwarder = Forwarder(WorkerId("w"), None, origins, self.tally, self.handed_over.append)
        self.runner = StageRunner(
            part("m/1/1" if direct else "m/1/0", direct=direct, batching=batching),
            session,
            forwarder,
            origins,
            self.cancellations,
            self.tally,
            queue_size=queue_size,
            clock=clock or (lambda: self.now_s),
            cpu_class=cpu_class,
            runs_at_once=at_once,
        )

    def cancel(self, number):
        self.cancellations.add(RequestKey("gateway", number, 0))
        self.runner.cancel(RequestKey("gateway", number, 0))

    @property
    def counts(self):
        return self.tally.completed, self.tally.dropped, self.tally.failed

    async def settled(self):
        await asyncio.wait_for(self.runner.wait_idle(), 10)
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


def last(number, **more):
    return request(number, stages=("m/1/0",), **more)


async def test_requests_run_one_after_another_in_the_order_in_which_they_came():
    """And are answered so."""
    async with running(GatedSession(opened=True)) as stage:
        for number in range(5):
            stage.runner.submit(last(number, tensors={"x": tensor("x", bytes([number]))}))
        await stage.settled()
        assert stage.session.runs == [bytes([number]) for number in range(5)]
        assert [frame.header.result.key.number for frame in stage.link.frames] == [0, 1, 2, 3, 4]
        assert stage.counts == (5, 0, 0)


async def test_a_full_queue_refuses_and_makes_room_by_ending_what_waits_in_vain():
    """Late requests are told so then."""
    async with running(queue_size=2) as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2, at_s=5.0))
        stage.runner.submit(last(3))
        with pytest.raises(Overloaded):
            stage.runner.submit(last(4))
        stage.now_s = 6.0
        stage.runner.submit(last(5))
        assert [failure.key.number for failure in stage.link.failures] == [2]
        stage.session.release(3)
        await stage.settled()
        assert stage.counts == (3, 1, 0)


async def test_a_waiting_request_that_is_cancelled_frees_its_place_at_once():
    """Before anything else ends; it never runs, and nothing is said."""
    async with running(queue_size=1) as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
        stage.cancel(2)
        stage.runner.submit(last(3))
        stage.session.release(2)
        await stage.settled()
        assert stage.session.num_started == 2
        assert stage.counts == (2, 1, 0)
        assert stage.link.failures == []


async def test_what_waits_for_a_gateway_that_is_gone_is_dropped():
    """What waits for others is not."""
    async with running() as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
        stage.runner.drop_gateway("another")
        assert stage.runner.num_queued == 1
        stage.runner.drop_gateway("gateway")
        stage.session.release()
        await stage.settled()
        assert stage.counts == (1, 1, 0)


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_request_that_is_over_when_its_run_ends_does_not_go_on(how):
    """Cancelled: silence. Late: its origin is told."""
    async with running() as stage:
        stage.runner.submit(request(1, at_s=5.0))
        await eventually(lambda: stage.session.num_started == 1)
        if how == "cancelled":
            stage.cancel(1)
        else:
            stage.now_s = 6.0
        stage.session.release()
        await stage.settled()
        assert stage.handed_over == []
        assert stage.counts == (0, 1, 0)
        told = [failure.reason for failure in stage.link.failures]
        assert told == ([] if how == "cancelled" else ["DEADLINE_EXCEEDED"])


@pytest.mark.parametrize(
    ("error", "reason", "retriable"),
    [
        (ModelRunFailed("shapes differ"), "MODEL_RUN_FAILED", False),
        (MemoryError(), "OVERLOADED", True),
        (ModelRunFailed("Failed to allocate memory for requested buffer of size 9"), "OVERLOADED", True),
        (ZeroDivisionError("secret"), "INTERNAL", False),
    ],
)
async def test_a_run_that_fails_fails_its_request_alone(error, reason, retriable):
    """The next one is served; a defect's text stays in the log."""
    async with running(GatedSession(opened=True)) as stage:
        stage.session.errors = [error]
        stage.runner.submit(last(1))
        stage.runner.submit(last(2))
        await stage.settled()
        (failure,) = stage.link.failures
        assert (failure.key.number, failure.reason, failure.retriable) == (1, reason, retriable)
        assert "secret" not in failure.message
        assert stage.counts == (1, 0, 1)


async def test_an_answer_whose_gateway_is_gone_is_dropped():
    """And counted so."""
    async with running(GatedSession(opened=True)) as stage:
        stage.link = None
        stage.runner.submit(last(1))
        await stage.settled()
        assert stage.counts == (0, 1, 0)


async def test_a_stage_that_is_let_go_tells_all_who_wait():
    """The one that runs, too; what its run answers is thrown away."""
    async with running() as stage:
        stage.runner.submit(last(1))
        await eventually(lambda: stage.session.num_started == 1)
        stage.runner.submit(last(2))
    assert [(f.key.number, f.reason) for f in stage.link.failures] == [(1, "STAGE_GONE"), (2, "STAGE_GONE")]
    assert stage.link.frames == []
    assert stage.counts == (0, 0, 2)


@pytest.mark.parametrize("end", ["answered", "failed", "cancelled", "late"])
async def test_nothing_keeps_the_tensors_of_a_request_that_has_ended(end):
    """However it ended, and without waiting for the collector of cycles."""
    async with running(GatedSession(opened=end in {"answered", "failed"})) as stage:
        array = np.zeros(1000, np.uint8)
        gone = weakref.ref(array)
        stage.session.errors = [ModelRunFailed("no")] if end == "failed" else []
        gc.collect()
        gc.disable()
        try:
            it = last(1, at_s=5.0, tensors={"x": tensor("x", array.data)})
            del array
            stage.runner.submit(it)
            del it
            if end in {"cancelled", "late"}:
                await eventually(lambda: stage.session.num_started == 1)
                stage.cancel(1) if end == "cancelled" else setattr(stage, "now_s", 6.0)
                stage.session.release()
            await stage.settled()
            stage.link.frames.clear()
            await eventually(lambda: gone() is None)
        finally:
            gc.enable()


async def test_two_runs_may_be_under_way():
    """Each in a thread of its own; a third request waits for one of them."""
    async with running(at_once=2) as stage:
        for number in range(3):
            stage.runner.submit(last(number, tensors={"x": tensor("x", bytes([number]))}))
        await eventually(lambda: stage.session.num_started == 2)
        assert (stage.runner.num_running, stage.runner.num_queued) == (2, 1)
        stage.session.release()
        await eventually(lambda: stage.session.num_started == 3)
        assert stage.runner.num_running == 2
        stage.session.release(2)
        await stage.settled()
        assert sorted(frame.header.result.key.number for frame in stage.link.frames) == [0, 1, 2]
        assert stage.counts == (3, 0, 0)


async def test_a_stage_with_two_runs_that_is_let_go_tells_all_who_wait():
    """Those of both runs, and the one that waits."""
    async with running(at_once=2) as stage:
        for number in range(3):
            stage.runner.submit(last(number))
        await eventually(lambda: stage.session.num_started == 2)
    assert sorted(failure.key.number for failure in stage.link.failures) == [0, 1, 2]
    assert {failure.reason for failure in stage.link.failures} == {"STAGE_GONE"}
    assert stage.counts == (0, 0, 3)

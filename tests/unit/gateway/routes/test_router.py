"""What the router learns from requests, and what it refuses: without sockets."""

from __future__ import annotations

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import DeadlineExceeded, Unavailable
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1 import frame_pb2
from services.gateway.routes.worker_loads import report_timings
from tests.unit.gateway.dispatch_bench import Bench


def report(bench, worker, queued=0, mean_s=0.0, wait_s=None):
    """A worker's report about stage 0 of model m."""
    stage = frame_pb2.StageLoad(stage="m/1/0", queued=queued, mean_compute_us=round(mean_s * 1e6))
    wait_us = None if wait_s is None else round(wait_s * 1e6)
    load = frame_pb2.Load(queued=queued, stages=[stage], expected_wait_us=wait_us)
    bench.dispatcher.on_frame(worker, Frame(frame_pb2.FrameHeader(load=load)))


def timed(stage, worker, compute_s):
    return frame_pb2.HopTiming(stage=stage, worker=worker, compute_ns=round(compute_s * 1e9))


def test_report_timings_counts_a_request_by_its_share_of_the_run():
    """So that a replica that batches more does not look slower."""
    seen = []

    class Recording:
        def observe_wait(self, ticket, stage, waited_s):
            pass

        def observe_answer(self, stage, worker, compute_s, now_s):
            seen.append(compute_s)

    timings = [timed("m/1/0", "a", 0.08), timed("m/1/1", "b", 0.08)]
    timings[1].batch = 8
    report_timings(Recording(), timings, None, 0.0)
    assert seen == pytest.approx([0.08, 0.01])


async def answered(bench, compute_s=0.01):
    """Answers one request as the worker that it was sent to; returns that worker."""
    async with bench.inferring() as request:
        (worker, sent) = next(
            (name, stream.sent[-1].header.activation)
            for name, stream in bench.links.streams.items()
            if stream.sent and stream.sent[-1].header.activation.key.number == bench.number
        )
        bench.answer(worker, sent, [timed("m/1/0", worker, compute_s)])
        await request
    return worker


class Counting(Bench):
    """A bench that knows the number of the next request."""

    @property
    def number(self):
        return max(
            frame.header.activation.key.number
            for stream in self.links.streams.values()
            for frame in stream.sent
        )


async def test_router_refuses_an_unreachable_deadline_at_once():
    """With the status of a deadline that has passed, and the delay after which it would not be; one a second is let pass, to see whether that is still so."""
    bench = Counting("a")
    bench.routes("a")
    await answered(bench, 0.2)
    report(bench, "a", queued=5, mean_s=0.2, wait_s=1.0)
    request = bench.new_request(deadline=Deadline.after(0.5, bench.clock))
    async with bench.inferring(deadline=request.deadline) as task:
        bench.answer("a", bench.links.streams["a"].sent[-1].header.activation)
        await task
    with pytest.raises(DeadlineExceeded) as caught:
        await bench.infer(request)
    assert caught.value.message == (
        "model 'm' version 1: no replica of stage 0 can be done in time: the first would take 1.20 s, 500 ms remain"
    )
    assert caught.value.retry_after_s == pytest.approx(0.7)
    assert len(bench.links.streams["a"].sent) == 2


async def test_router_ejects_a_replica_that_fails_repeatedly():
    """Five failures in a row that are its own eject it for five seconds."""
    bench = Counting("a", "b")
    bench.routes("a")
    for _ in range(5):
        async with bench.inferring() as request:
            bench.refuse(
                "a", bench.links.streams["a"].sent[-1].header.activation, "UNAVAILABLE", retriable=True
            )
            with pytest.raises(Unavailable):
                await request
    bench.routes("ab")
    # The only replica that there was could not be ejected.
    assert "a" in {await answered(bench) for _ in range(50)}
    for _ in range(5):
        bench.router.balancer.observe_failure("a", ["m/1/0"], bench.clock())
    assert {await answered(bench) for _ in range(20)} == {"b"}
    bench.clock.now_s += 5
    assert "a" in {await answered(bench) for _ in range(50)}


async def test_router_ejects_no_replica_for_full_queues_or_bad_inputs():
    """Neither is the replica's fault."""
    bench = Counting("a", "b")
    bench.routes("ab")
    for reason, retriable in (
        ("OVERLOADED", True),
        ("MODEL_RUN_FAILED", False),
        ("DEADLINE_EXCEEDED", False),
    ):
        for _ in range(6):
            async with bench.inferring() as request:
                for name in "ab":
                    for frame in bench.links.streams[name].sent:
                        bench.refuse(name, frame.header.activation, reason, retriable=retriable)
                request.cancel()
    board = bench.router.balancer.board(bench.router.table.find("m", "").stages[0], bench.clock())
    assert not board.ejected_until_s.any()


async def test_router_uses_an_ejected_replica_where_no_other_is_left():
    """A bad one is better than none."""
    bench = Counting("a", "b")
    bench.routes("ab")
    await answered(bench)
    for _ in range(5):
        bench.router.balancer.observe_failure("a", ["m/1/0"], bench.clock())
    bench.lose("b")
    assert await answered(bench) == "a"


async def test_router_prefers_the_replica_with_shorter_measured_times():
    """Not the one with fewer requests."""
    bench = Counting("a", "b")
    bench.routes("ab")
    for _ in range(20):
        report(bench, "a", mean_s=0.5, wait_s=0.0)
        report(bench, "b", mean_s=0.01, wait_s=0.0)
        await answered(bench, 0.01)
    report(bench, "b", queued=3, mean_s=0.01, wait_s=0.03)
    picks = [await answered(bench) for _ in range(50)]
    assert picks.count("b") >= 45


async def test_router_keeps_no_work_of_a_worker_that_left_with_requests_in_flight():
    """What was in flight there ends on no other worker's account."""
    bench = Counting("a", "b", "c")
    bench.routes("a")
    async with bench.inferring() as request:
        await bench.activation("a")
        bench.routes("b")
        report(bench, "b", queued=1, mean_s=0.01, wait_s=0.01)
        bench.answer("b", await bench.activation("b"))
        await request
    bench.routes("abc")
    board = bench.router.balancer.workers
    assert [board.num_own(worker) for worker in "abc"] == [0, 0, 0]
    assert not board.own_s.any()

"""Routes, attempts, retries, deadlines, cancellation: without sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import (
    DeadlineExceeded,
    Internal,
    ModelRunFailed,
    Overloaded,
    Unavailable,
)
from onnxmesh.routing.table import EMPTY_TABLE, RoutingTable
from onnxmesh.rpc.frames import Frame
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable
from services.gateway import dispatcher
from services.gateway.dispatcher import Dispatcher
from services.gateway.order import Order
from services.gateway.router import Router
from tests.eventually import eventually
from tests.fakes.fake_peers import FakePeer, FakePeers
from tests.fakes.routed_models import routed_model

INPUT = Tensor("x", Datatype.FP32, (1, 1), b"\0\0\x80\x3f")
NOW_NS = 1_000_000


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


class Bench:
    """A dispatcher, its fake streams, and the words that workers say to it."""

    def __init__(self, *workers, max_attempts=3):
        self.clock = Clock()
        self.peers = FakePeers(*workers)
        self.router = Router("g", self.peers, rng=Random(7), clock=self.clock)
        self.dispatcher = Dispatcher(
            "g",
            self.peers,
            self.router,
            max_attempts=max_attempts,
            clock=self.clock,
            unix_ns=lambda: NOW_NS,
        )

    def routes(self, *stages, leaving=(), **changes):
        """Puts a table in force: for each stage the workers that hold it, and those who leave."""
        model = routed_model(
            [[(worker, f"{worker}:1") for worker in workers] for workers in stages], **changes
        )
        workers = [RoutedWorker(worker=worker, leaving=True) for worker in leaving]
        self.dispatcher.update(RoutingTable.from_proto(RouteTable(models=[model], workers=workers)))

    def order(self, **changes):
        given = {
            "model": self.router.table.find("m", ""),
            "tensors": (INPUT,),
            "deadline": Deadline.after(60, self.clock),
            "request_id": "r",
            "requested_outputs": (),
        }
        return Order(**{**given, **changes})

    @asynccontextmanager
    async def asking(self, **changes):
        """A request that runs beside the test; its task is what it comes to."""
        task = asyncio.ensure_future(self.dispatcher.infer(self.order(**changes)))
        await asyncio.sleep(0)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert self.dispatcher.num_in_flight == 0

    async def activation(self, worker, index=0):
        """The activation that a worker was sent, once it was."""
        sent = self.peers.streams[worker].sent
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
        stream = self.peers.streams[worker]
        stream.is_open = False
        self.dispatcher.on_lost(worker, stream)

    def hush(self, worker, silent=True):
        stream = self.peers.streams[worker]
        stream.is_silent = silent
        self.dispatcher.on_silence(worker, stream)


async def test_a_request_is_answered():
    """Hop 0 gets the whole route and the tensors, the last hop's answer ends it."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.asking(requested_outputs=("y",), traceparent="00-1") as request:
        sent = await bench.activation("a")
        assert (sent.key.origin, sent.key.number, sent.key.attempt) == ("g", 1, 0)
        assert [(hop.stage, hop.worker, hop.address) for hop in sent.route.hops] == [
            ("m/1/0", "a", "a:1"),
            ("m/1/1", "b", "b:1"),
        ]
        assert (sent.hop, sent.request_id, sent.traceparent) == (0, "r", "00-1")
        assert sent.remaining_us == 60_000_000
        assert list(sent.requested_outputs) == ["y"]
        assert [(t.name, t.datatype, list(t.shape), t.byte_size) for t in sent.tensors] == [
            ("x", "FP32", [1, 1], 4)
        ]
        assert bench.peers.streams["a"].sent[0].payloads == (INPUT.data,)
        bench.clock.now_s += 0.25
        timing = frame_pb2.HopTiming(stage="m/1/0", worker="a", queue_ns=1500)
        bench.answer("b", sent, [timing])
        answer = await request
    assert answer.tensors == (Tensor("y", Datatype.FP32, (1, 1), b"1234"),)
    assert (answer.trace.total_us, answer.trace.attempts, answer.trace.return_us) == (250_000, 1, 5)
    assert answer.trace.hops == (timing,)
    assert not bench.peers.streams["a"].said
    assert bench.peers.kept == {"a": "a:1", "b": "b:1"}


async def test_a_lost_stream_moves_the_request_to_another_replica():
    """Same number, next attempt; the answer of the first route, should it still come, is dropped."""
    bench = Bench("a", "b", "c")
    bench.routes("a", "b")
    async with bench.asking() as request:
        first = await bench.activation("a")
        bench.routes("a", "bc")
        bench.lose("b")
        second = await bench.activation("a", 1)
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert second.route.hops[1].worker == "c"
        assert bench.peers.streams["a"].cancelled == [(1, 0)]
        bench.answer("b", first, payload=b"old!")
        await asyncio.sleep(0)
        assert not request.done()
        bench.answer("c", second, payload=b"new!")
        answer = await request
    assert answer.tensors[0].data == b"new!"
    assert answer.trace.attempts == 2


async def test_a_silent_stream_moves_the_request_to_another_replica():
    """Long before it is lost; the silent worker may serve a later attempt again, for it is merely suspect."""
    bench = Bench("a", "b")
    bench.routes("ab")
    bench.hush("b")
    async with bench.asking() as request:
        await bench.activation("a")
        bench.hush("b", silent=False)
        bench.hush("a")
        second = await bench.activation("b")
        assert (second.key.number, second.key.attempt) == (1, 1)
        assert bench.peers.streams["a"].cancelled == [(1, 0)]
        bench.hush("a", silent=False)
        bench.lose("b")
        third = await bench.activation("a", 1)
        bench.answer("a", third)
        assert (await request).trace.attempts == 3


async def test_a_silent_stream_is_waited_for_where_there_is_no_other():
    """Nobody else has the stage, or it is the request's last attempt: sending it again would be for nothing."""
    for workers, max_attempts in (("a", 3), ("ab", 1)):
        bench = Bench("a", "b", max_attempts=max_attempts)
        bench.routes(workers)
        bench.hush("b")
        async with bench.asking() as request:
            sent = await bench.activation("a")
            bench.hush("b", silent=False)
            bench.hush("a")
            await asyncio.sleep(0)
            bench.answer("a", sent)
            assert (await request).trace.attempts == 1


async def test_an_older_stream_to_the_same_worker_ends_unnoticed():
    """Only attempts that rely on the stream that ended fail."""
    bench = Bench("a")
    bench.routes("a")
    older = bench.peers.streams["a"]
    bench.peers.streams["a"] = FakePeer("a")
    async with bench.asking() as request:
        sent = await bench.activation("a")
        bench.dispatcher.on_lost("a", older)
        await asyncio.sleep(0)
        bench.answer("a", sent)
        assert (await request).trace.attempts == 1


async def test_a_retriable_failure_excludes_the_worker_at_fault():
    """Stage 0 says that stage 1 cannot be reached: stage 1 is replaced, stage 0 may serve again."""
    bench = Bench("a", "b", "c")
    bench.routes("a", "bc")
    async with bench.asking() as request:
        first = await bench.activation("a")
        faulty = first.route.hops[1].worker
        other = {"b": "c", "c": "b"}[faulty]
        bench.refuse("a", first, "UNAVAILABLE", retriable=True, at_fault=faulty)
        second = await bench.activation("a", 1)
        assert second.route.hops[1].worker == other
        bench.answer(other, second)
        await request


async def test_a_final_failure_is_the_clients():
    """What another route would say too goes straight back, in its own class."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.asking() as request:
        await eventually(lambda: bench.dispatcher.num_in_flight)
        (worker,) = [name for name in "ab" if bench.peers.streams[name].sent]
        sent = await bench.activation(worker)
        bench.refuse(worker, sent, "MODEL_RUN_FAILED", retriable=False)
        with pytest.raises(ModelRunFailed, match="MODEL_RUN_FAILED it is"):
            await request
    assert not bench.peers.streams[worker].cancelled


async def test_an_unknown_reason_is_masked():
    """A worker of a later release may say what this one has no class for."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        bench.refuse("a", await bench.activation("a"), "NEWS", retriable=False)
        with pytest.raises(Internal):
            await request


async def test_with_no_replica_left_the_client_is_told_at_once():
    """The error names model, stage, worker and what happened."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.asking() as request:
        await bench.activation("a")
        bench.lose("b")
        with pytest.raises(Unavailable) as caught:
            await request
    assert caught.value.message == (
        "model 'm' version 1: stage 1 has no live replica left: worker 'b': the stream to worker 'b' was lost"
    )


async def test_overload_everywhere_stays_overload():
    """The client is told to come back, and when: the longest delay that a worker asked for."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.asking() as request:
        for delay in (200, 900):
            await eventually(
                lambda: any(stream.sent and not stream.cancelled for stream in bench.peers.streams.values())
            )
            (worker,) = [
                name for name, stream in bench.peers.streams.items() if stream.sent and not stream.cancelled
            ]
            sent = await bench.activation(worker)
            bench.refuse(worker, sent, "OVERLOADED", retriable=True, retry_after_ms=delay)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await request
    assert caught.value.retry_after_s == 0.9


async def test_attempts_are_limited():
    """However many replicas there are."""
    bench = Bench(*"abcd", max_attempts=2)
    bench.routes("abcd")
    async with bench.asking() as request:
        for count in (1, 2):
            await eventually(
                lambda count=count: sum(len(s.sent) for s in bench.peers.streams.values()) == count
            )
            (worker,) = [
                name for name, stream in bench.peers.streams.items() if stream.sent and not stream.cancelled
            ]
            bench.lose(worker)
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="gave up after 2 attempts: worker"):
            await request


async def test_a_stage_without_replica():
    """There is nothing to wait for."""
    bench = Bench("a")
    bench.routes("a", "")
    with pytest.raises(Unavailable) as caught:
        await bench.dispatcher.infer(bench.order())
    assert caught.value.message == "model 'm' version 1: stage 1 has no live replica"


async def test_a_worker_that_is_not_linked_yet_is_dialled():
    """A request that comes right after the table does not fail for that."""
    bench = Bench("a")
    bench.peers.reachable = {"c"}
    bench.routes("a", "bc")
    async with bench.asking() as request:
        sent = await bench.activation("a")
        assert sent.route.hops[1].worker == "c"
        bench.answer("c", sent)
        await request
    assert ("c", "c:1") in bench.peers.dialled


async def test_workers_that_cannot_be_reached():
    """Each is named with what dialling it came to."""
    bench = Bench()
    bench.routes("a")
    with pytest.raises(Unavailable) as caught:
        await bench.dispatcher.infer(bench.order())
    assert caught.value.message == (
        "model 'm' version 1: stage 0 has no live replica left: worker 'a': a at a:1 cannot be reached"
    )


async def test_a_stream_that_closes_while_sending():
    """Another replica gets the request."""
    bench = Bench("a", "b")
    bench.routes("a")
    bench.peers.streams["a"].broken = True
    with pytest.raises(Unavailable, match="worker 'a': the stream to a is closed"):
        await bench.dispatcher.infer(bench.order())
    bench.routes("ab")
    async with bench.asking() as request:
        bench.answer("b", await bench.activation("b"))
        await request


async def test_a_client_that_gives_up_cancels_on_every_hop():
    """Workers drop what nobody waits for; nothing is left here."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.asking() as request:
        await bench.activation("a")
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert bench.peers.streams["a"].cancelled == [(1, 0)]
    assert bench.peers.streams["b"].cancelled == [(1, 0)]


async def test_a_thousand_cancelled_requests_leave_nothing():
    """No future, no entry, no load."""
    bench = Bench("a", "b")
    bench.routes("ab", "ab")
    order = bench.order()
    requests = [asyncio.ensure_future(bench.dispatcher.infer(order)) for _ in range(1000)]
    await eventually(lambda: bench.dispatcher.num_in_flight == 1000)
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    assert bench.dispatcher.num_in_flight == 0
    assert [bench.dispatcher._attempts.count_on(worker) for worker in "ab"] == [0, 0]
    board = bench.router.balancer.workers
    assert [board.num_own(worker) for worker in "ab"] == [0, 0]
    assert not board.own_s.any()


async def test_a_deadline_that_has_passed():
    """Nothing is sent."""
    bench = Bench("a")
    bench.routes("a")
    order = bench.order(deadline=Deadline.after(1, bench.clock))
    bench.clock.now_s += 1
    with pytest.raises(DeadlineExceeded, match="model 'm' version 1: the deadline passed"):
        await bench.dispatcher.infer(order)
    assert not bench.peers.streams["a"].sent


async def test_a_deadline_that_passes_while_a_worker_runs():
    """The client is told, the worker is told to stop."""
    bench = Bench("a")
    bench.routes("a")
    with pytest.raises(DeadlineExceeded):
        await bench.dispatcher.infer(bench.order(deadline=Deadline.after(0.02, bench.clock)))
    assert bench.peers.streams["a"].cancelled == [(1, 0)]
    assert bench.dispatcher.num_in_flight == 0


async def test_a_worker_that_leaves_the_table_fails_its_attempts():
    """The scheduler may see a death before the stream does."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.asking() as request:
        await eventually(lambda: bench.dispatcher.num_in_flight)
        (worker,) = [name for name in "ab" if bench.peers.streams[name].sent]
        other = {"a": "b", "b": "a"}[worker]
        bench.routes(other)
        bench.answer(other, await bench.activation(other))
        assert (await request).trace.attempts == 2


async def test_a_worker_that_leaves_in_order_still_answers_what_it_was_sent():
    """It gets nothing new; once the table does not know it any more, what is left fails over."""
    bench = Bench("a", "b")
    bench.routes(["a"])
    async with bench.asking() as first, bench.asking() as second:
        one, two = await bench.activation("a"), await bench.activation("a", 1)
        bench.routes(["b"], leaving=["a"])
        assert bench.peers.kept == {"a": "a:1", "b": "b:1"}
        async with bench.asking() as third:
            bench.answer("b", await bench.activation("b"))
            bench.answer("a", one)
            assert [(await each).trace.attempts for each in (first, third)] == [1, 1]
            bench.routes(["b"])
            assert bench.peers.kept == {"b": "b:1"}
            bench.answer("b", await bench.activation("b", 1))
            assert (await second).trace.attempts == 2
        assert two.key.attempt == 0


async def test_a_worker_that_nobody_has_heard_of_leaves_nothing():
    """A gateway that comes late does not know where it is, and has sent it nothing."""
    bench = Bench("b")
    bench.routes(["b"], leaving=["a"])
    assert bench.peers.kept == {"b": "b:1"}


async def test_a_stage_that_has_moved_is_looked_for_in_the_next_table():
    """Its old worker may be the only one for another stage; tables that come meanwhile count as no attempt."""
    bench = Bench("a", "b", max_attempts=1)
    bench.routes(["a"], ["a"])
    async with bench.asking() as asked:
        for index in range(3):
            bench.refuse("a", await bench.activation("a", index), "STAGE_GONE", retriable=True)
            await asyncio.sleep(0)
            bench.routes(["a"], ["a"] if index < 2 else ["b"])
        activation = await bench.activation("a", 3)
        assert [hop.worker for hop in activation.route.hops] == ["a", "b"]
        bench.answer("b", activation)
        assert (await asked).trace.attempts == 4


async def test_a_stage_that_is_gone_and_in_no_other_table_fails_like_any_other(monkeypatch):
    """Nothing is waited for without end."""
    monkeypatch.setattr(dispatcher, "TABLE_WAIT_S", 0.01)
    bench = Bench("a")
    bench.routes(["a"])
    async with bench.asking() as asked:
        bench.refuse("a", await bench.activation("a"), "STAGE_GONE", retriable=True)
        with pytest.raises(Unavailable, match="no live replica left"):
            await asked


async def test_a_worker_that_was_started_anew_loses_its_old_stream():
    """The table's generation is newer than the stream's: whoever was there is gone."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        await bench.activation("a")
        old = bench.peers.streams["a"]
        bench.routes("a", generation=2)
        assert not old.is_open
        with pytest.raises(Unavailable, match="worker 'a' was started anew"):
            await request


async def test_a_model_that_is_undeployed_while_it_is_retried():
    """The next attempt finds no such model."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        await bench.activation("a")
        bench.dispatcher.update(EMPTY_TABLE)
        with pytest.raises(Unavailable, match="model 'm' version 1 is no longer deployed: worker 'a'"):
            await request


async def test_reported_load_decides_between_replicas():
    """A worker that says it is busy gets less; what this gateway has there counts too."""
    bench = Bench("a", "b")
    bench.routes("ab")
    busy = frame_pb2.FrameHeader(load=frame_pb2.Load(queued=3, running=1))
    bench.dispatcher.on_frame("a", Frame(busy))
    requests = [asyncio.ensure_future(bench.dispatcher.infer(bench.order())) for _ in range(4)]
    await eventually(lambda: bench.dispatcher.num_in_flight == 4)
    assert len(bench.peers.streams["b"].sent) == 4
    board = bench.router.balancer.workers
    assert board.others_s[board.slot("a")] == pytest.approx(0.004)
    bench.lose("a")
    assert board.others_s[board.slot("a")] == 0
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)


async def test_frames_that_nobody_waits_for_are_dropped():
    """Answers to other gateways, to ended requests, of unknown kinds: none of them does harm."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.asking() as request:
        sent = await bench.activation("a")
        for origin, number, attempt in [("h", 1, 0), ("g", 9, 0), ("g", 1, 1)]:
            other = frame_pb2.Activation(
                key=frame_pb2.RequestKey(origin=origin, number=number, attempt=attempt)
            )
            bench.answer("a", other)
            bench.refuse("a", other, "INTERNAL", retriable=False)
        bench.dispatcher.on_frame("a", Frame(frame_pb2.FrameHeader()))
        bench.answer("a", sent)
        bench.refuse("a", sent, "INTERNAL", retriable=False)
        bench.answer("a", sent)
        await request

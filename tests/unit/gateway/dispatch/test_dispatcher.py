"""Routes, attempts, retries, deadlines, cancellation: without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.deadline import Deadline
from onnxmesh.errors import (
    DeadlineExceeded,
    Internal,
    MeshError,
    ModelRunFailed,
    Overloaded,
    Unavailable,
)
from onnxmesh.rpc.frames.frames import Frame, decode_envelope, encode_envelope
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually
from tests.unit.gateway.dispatch_bench import INPUT, Bench


async def test_dispatcher_returns_the_result_of_the_last_hop():
    """Hop 0 gets the whole route and the tensors, the last hop's answer ends it."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.inferring(requested_outputs=("y",), traceparent="00-1") as request:
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
        assert bench.links.streams["a"].sent[0].payloads == (INPUT.data,)
        bench.clock.now_s += 0.25
        timing = frame_pb2.HopTiming(stage="m/1/0", worker="a", queue_ns=1500)
        bench.answer("b", sent, [timing])
        answer = await request
    assert answer.tensors == (Tensor("y", Datatype.FP32, (1, 1), b"1234"),)
    assert (answer.trace.total_us, answer.trace.attempts, answer.trace.return_us) == (250_000, 1, 5)
    assert answer.trace.hops == (timing,)
    assert not bench.links.streams["a"].headers
    assert bench.links.kept == {"a": "a:1", "b": "b:1"}


async def test_dispatcher_excludes_the_worker_at_fault_of_a_retriable_failure():
    """Stage 0 reports that stage 1 cannot be reached: stage 1 is replaced, stage 0 may serve again."""
    bench = Bench("a", "b", "c")
    bench.routes("a", "bc")
    async with bench.inferring() as request:
        first = await bench.activation("a")
        faulty = first.route.hops[1].worker
        other = {"b": "c", "c": "b"}[faulty]
        bench.refuse("a", first, "UNAVAILABLE", retriable=True, at_fault=faulty)
        second = await bench.activation("a", 1)
        assert second.route.hops[1].worker == other
        bench.answer(other, second)
        await request


async def test_dispatcher_raises_a_final_failure_in_its_own_class():
    """Another route would fail alike."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.inferring() as request:
        await eventually(lambda: bench.dispatcher.num_in_flight)
        (worker,) = [name for name in "ab" if bench.links.streams[name].sent]
        sent = await bench.activation(worker)
        bench.refuse(worker, sent, "MODEL_RUN_FAILED", retriable=False)
        with pytest.raises(ModelRunFailed, match="MODEL_RUN_FAILED it is"):
            await request
    assert not bench.links.streams[worker].cancelled


async def test_dispatcher_masks_an_unknown_reason():
    """A worker of a later release may send a reason that this one has no class for."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        bench.refuse("a", await bench.activation("a"), "NEWS", retriable=False)
        with pytest.raises(Internal):
            await request


async def test_dispatcher_fails_at_once_without_a_replica_left():
    """The error names model, stage, worker and what happened."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.inferring() as request:
        await bench.activation("a")
        bench.lose("b")
        with pytest.raises(Unavailable) as caught:
            await request
    assert caught.value.message == (
        "model 'm' version 1: stage 1 has no live replica left: worker 'b': the stream to worker 'b' was lost"
    )


async def test_dispatcher_raises_overloaded_where_every_replica_is():
    """With the longest retry delay among the workers' errors."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.inferring() as request:
        for delay in (200, 900):
            await eventually(
                lambda: any(stream.sent and not stream.cancelled for stream in bench.links.streams.values())
            )
            (worker,) = [
                name for name, stream in bench.links.streams.items() if stream.sent and not stream.cancelled
            ]
            sent = await bench.activation(worker)
            bench.refuse(worker, sent, "OVERLOADED", retriable=True, retry_after_ms=delay)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await request
    assert caught.value.retry_after_s == 0.9


async def test_dispatcher_tries_max_attempts_routes():
    """However many replicas there are."""
    bench = Bench(*"abcd", max_attempts=2)
    bench.routes("abcd")
    async with bench.inferring() as request:
        for count in (1, 2):
            await eventually(
                lambda count=count: sum(len(s.sent) for s in bench.links.streams.values()) == count
            )
            (worker,) = [
                name for name, stream in bench.links.streams.items() if stream.sent and not stream.cancelled
            ]
            bench.lose(worker)
            await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="gave up after 2 attempts: worker"):
            await request


async def test_dispatcher_fails_at_once_where_a_stage_has_no_replica():
    """There is nothing to wait for."""
    bench = Bench("a")
    bench.routes("a", "")
    with pytest.raises(Unavailable) as caught:
        await bench.infer(bench.new_request())
    assert caught.value.message == "model 'm' version 1: stage 1 has no live replica"


async def test_dispatcher_cancels_on_every_hop_when_the_client_cancels():
    """Workers drop what they hold of it; the gateway has nothing of it left."""
    bench = Bench("a", "b")
    bench.routes("a", "b")
    async with bench.inferring() as request:
        await bench.activation("a")
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
    assert bench.links.streams["a"].cancelled == [(1, 0)]
    assert bench.links.streams["b"].cancelled == [(1, 0)]


async def test_dispatcher_keeps_nothing_of_a_thousand_cancelled_requests():
    """No future, no entry, no load."""
    bench = Bench("a", "b")
    bench.routes("ab", "ab")
    order = bench.new_request()
    requests = [asyncio.ensure_future(bench.infer(order)) for _ in range(1000)]
    await eventually(lambda: bench.dispatcher.num_in_flight == 1000)
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)
    assert bench.dispatcher.num_in_flight == 0
    assert [bench.dispatcher._attempts.count_on(worker) for worker in "ab"] == [0, 0]
    board = bench.router.balancer.workers
    assert [board.num_own(worker) for worker in "ab"] == [0, 0]
    assert not board.own_s.any()


async def test_dispatcher_is_sent_nothing_after_the_deadline():
    """Nothing is sent."""
    bench = Bench("a")
    bench.routes("a")
    order = bench.new_request(deadline=Deadline.after(1, bench.clock))
    bench.clock.now_s += 1
    with pytest.raises(DeadlineExceeded, match="model 'm' version 1: the deadline passed"):
        await bench.infer(order)
    assert not bench.links.streams["a"].sent


async def test_dispatcher_cancels_the_attempt_at_the_deadline():
    """The client gets DEADLINE_EXCEEDED, the worker a Cancel frame."""
    bench = Bench("a")
    bench.routes("a")
    with pytest.raises(DeadlineExceeded):
        await bench.infer(bench.new_request(deadline=Deadline.after(0.02, bench.clock)))
    assert bench.links.streams["a"].cancelled == [(1, 0)]
    assert bench.dispatcher.num_in_flight == 0


async def test_dispatcher_prefers_the_replica_that_reports_less_load():
    """What this gateway has in flight there counts, too."""
    bench = Bench("a", "b")
    bench.routes("ab")
    busy = frame_pb2.FrameHeader(load=frame_pb2.Load(queued=3, running=1))
    bench.dispatcher.on_frame("a", Frame(busy))
    requests = [asyncio.ensure_future(bench.infer(bench.new_request())) for _ in range(4)]
    await eventually(lambda: bench.dispatcher.num_in_flight == 4)
    assert len(bench.links.streams["b"].sent) == 4
    board = bench.router.balancer.workers
    assert board.others_s[board.slot("a")] == pytest.approx(0.004)
    bench.lose("a")
    assert board.others_s[board.slot("a")] == 0
    for request in requests:
        request.cancel()
    await asyncio.wait(requests)


async def test_dispatcher_drops_answers_to_other_attempts():
    """Answers to other gateways, to ended requests, of unknown kinds: none of them reaches the client."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        sent = await bench.activation("a")
        for origin, number, attempt in [("h", 1, 0), ("g", 9, 0), ("g", 1, 1)]:
            other = frame_pb2.Activation(
                key=frame_pb2.RequestKey(origin=origin, number=number, attempt=attempt)
            )
            bench.answer("a", other, payload=b"bad!")
            bench.refuse("a", other, "INTERNAL", retriable=False)
        bench.dispatcher.on_frame("a", Frame(frame_pb2.FrameHeader()))
        bench.answer("a", sent)
        bench.refuse("a", sent, "INTERNAL", retriable=False)
        bench.answer("a", sent, payload=b"late")
        answer = await request
    assert [bytes(tensor.data) for tensor in answer.tensors] == [b"1234"]


def corrupt_result(activation, payloads=(b"1234",), **changes):
    """A Result as it is read from the wire, whose description is wrong."""
    described = {"name": "y", "datatype": "FP32", "shape": [1, 1], "byte_size": 4, **changes}
    result = frame_pb2.Result(key=activation.key, tensors=[frame_pb2.Tensor(**described)])
    sent = Frame(frame_pb2.FrameHeader(result=result), payloads)
    (received,) = decode_envelope(encode_envelope([sent]))
    return received


CORRUPT = [
    {"datatype": "FP33"},
    {"shape": [1, 2]},
    {"shape": [-1, -1]},
    {"payloads": ()},
    {"payloads": (b"1234", b"1234")},
    {"payloads": (b"123",)},
]


@pytest.mark.parametrize("changes", CORRUPT)
async def test_dispatcher_retries_a_corrupt_result_on_another_route(changes):
    """An unknown datatype, a wrong number of payloads or a wrong size is the fault of the worker that sent it."""
    bench = Bench("a", "b")
    bench.routes("ab")
    async with bench.inferring() as request:
        (one,) = [name for name, stream in bench.links.streams.items() if stream.sent]
        bench.dispatcher.on_frame(one, corrupt_result(await bench.activation(one), **changes))
        other = "b" if one == "a" else "a"
        bench.answer(other, await bench.activation(other))
        answer = await request
    assert answer.trace.attempts == 2
    assert [bytes(tensor.data) for tensor in answer.tensors] == [b"1234"]
    assert bench.links.streams[one].cancelled == [(1, 0)]


async def test_dispatcher_ends_with_corrupt_data_where_there_is_no_other_route():
    """The client sees what was wrong, with the status of data loss."""
    bench = Bench("a")
    bench.routes("a")
    async with bench.inferring() as request:
        bench.dispatcher.on_frame("a", corrupt_result(await bench.activation("a"), datatype="FP33"))
        with pytest.raises(MeshError, match="unknown datatype 'FP33'"):
            await request


async def test_dispatcher_counts_corrupt_results_against_their_worker():
    """They are never booked as successes, so a worker that sends nothing else is ejected."""
    bench = Bench("a", "b")
    bench.routes("ab")
    for _ in range(40):
        async with bench.inferring() as request:
            if bench.links.streams["a"].sent:
                sent = bench.links.streams["a"].sent.pop().header.activation
                bench.dispatcher.on_frame("a", corrupt_result(sent, datatype="FP33"))
            await eventually(lambda: bench.links.streams["b"].sent)
            bench.answer("b", bench.links.streams["b"].sent.pop().header.activation)
            await request
    board = bench.router.balancer.board(bench.router.table.find("m", "").stages[0], bench.clock())
    assert [replica.worker for replica in board.replicas] == ["a", "b"]
    assert list(board.ejected_until_s > bench.clock()) == [True, False]

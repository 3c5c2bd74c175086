"""Requests that are run in micro-batches: without sockets."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import ModelRunFailed
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable, Splitting
from services.gateway.batching.micro_batch_runner import IN_FLIGHT_PER_STAGE
from tests.eventually import eventually
from tests.fakes.routed_models import routed_model
from tests.unit.gateway.dispatch_bench import Bench

ROWS = 32


def request(rows=ROWS):
    return Tensor("x", Datatype.UINT8, (rows, 1), bytes(range(rows)))


class SplitBench(Bench):
    """Workers that add one to each byte of a row, when the test lets them."""

    def split(self, *stages, max_rows=64, cpu_class=""):
        model = routed_model([[(worker, f"{worker}:1") for worker in workers] for workers in stages])
        model.splitting.CopyFrom(Splitting(max_rows=max_rows, cpu_class=cpu_class))
        workers = [
            RoutedWorker(worker=worker, attributes={"device": "cpu", "cpu.class": "new"})
            for worker in set("".join(stages))
        ]
        self.update(RoutingTable.from_proto(RouteTable(models=[model], workers=workers)))

    def learn(self, *route, rows=8, row_ns=10_000_000):
        """Records that each row takes 10 ms everywhere."""
        timings = [
            frame_pb2.HopTiming(stage=f"m/1/{index}", worker=worker, compute_ns=rows * row_ns)
            for index, worker in enumerate(route)
        ]
        self.batcher.observe_timings(rows, timings)
        self.batcher.observe_duration(ROWS, self.router.table.find("m", ""), 1.0, 1)

    @property
    def batcher(self):
        return self.path._splitter._batcher

    def sent(self, worker):
        return [frame.header.activation for frame in self.links.streams[worker].sent]

    def reply(self, frame, route, last, too_many=0):
        """Answers what a worker was sent as the last worker of the route."""
        activation = frame.header.activation
        (payload,) = frame.payloads
        rows = activation.tensors[0].shape[0]
        shape = [rows + too_many, 1]
        described = frame_pb2.Tensor(name="y", datatype="UINT8", shape=shape, byte_size=rows + too_many)
        timings = [
            frame_pb2.HopTiming(
                stage=f"m/1/{index}", worker=worker, compute_ns=rows * 10_000_000, queue_ns=rows
            )
            for index, worker in enumerate(route)
        ]
        result = frame_pb2.Result(key=activation.key, tensors=[described], timings=timings)
        answer = bytes(byte + 1 for byte in bytes(payload)) + bytes(too_many)
        self.dispatcher.on_frame(last, Frame(frame_pb2.FrameHeader(result=result), (answer,)))


EXPECTED = bytes(range(1, ROWS + 1))


async def test_runner_sends_micro_batches_on_one_route_and_joins_their_outputs_in_order():
    """So many at once as keep the stages busy; answers that come in another order change nothing."""
    bench = SplitBench("a", "b")
    bench.split("a", "b")
    bench.learn("a", "b")
    stream = bench.links.streams["a"].sent
    async with bench.inferring(tensors=(request(),)) as answer:
        window = IN_FLIGHT_PER_STAGE * 2
        await eventually(lambda: len(stream) == window)
        first = bench.sent("a")
        assert len({each.split_of for each in first}) == 1
        assert first[0].split_of
        assert len({each.key.number for each in first}) == window
        # The answer to one lets one more go: then the first stage still has to run what later stages have done of others.
        answered = 0
        while not answer.done():
            waiting = stream[answered:]
            for frame in reversed(waiting):
                bench.reply(frame, "ab", "b")
            answered += len(waiting)
            await asyncio.sleep(0)
            assert len(stream) <= answered + window
        tensors, trace = (await answer).tensors, (await answer).trace
    sizes = [each.tensors[0].shape[0] for each in bench.sent("a")]
    assert sum(sizes) == ROWS
    assert b"".join(bytes(frame.payloads[0]) for frame in stream) == bytes(range(ROWS))
    assert (tensors[0].shape, bytes(tensors[0].data)) == ((ROWS, 1), EXPECTED)
    assert trace.num_micro_batches == len(sizes) > window
    assert [hop.compute_ns for hop in trace.hops] == [ROWS * 10_000_000] * 2
    assert [hop.queue_ns for hop in trace.hops] == [max(sizes)] * 2
    assert {(hop.worker, hop.stage) for hop in trace.hops} == {("a", "m/1/0"), ("b", "m/1/1")}


@pytest.mark.parametrize("why", ["nothing measured", "too many rows", "other processor", "one row", "off"])
async def test_runner_leaves_a_request_whole_where_it_must_not_be_split(why):
    """Without measurements, where the bits are not proven, with one row, or by the settings."""
    bench = SplitBench("a", "b", split=why != "off")
    bench.split(
        "a",
        "b",
        max_rows=ROWS - 1 if why == "too many rows" else 64,
        cpu_class="old" if why == "other processor" else "new",
    )
    if why not in ("nothing measured", "off"):
        bench.learn("a", "b")
    async with bench.inferring(tensors=(request(1 if why == "one row" else ROWS),)) as answer:
        sent = await bench.activation("a")
        assert sent.split_of == 0
        bench.reply(bench.links.streams["a"].sent[0], "ab", "b")
        assert (await answer).trace.num_micro_batches == 1
    assert len(bench.sent("a")) == 1


async def test_runner_learns_from_a_whole_request():
    """The second one is split, into four micro-batches at most, for smaller runs were not measured."""
    bench = SplitBench("a", "b")
    bench.split("a", "b", cpu_class="new")
    async with bench.inferring(tensors=(request(),)) as answer:
        await bench.activation("a")
        bench.reply(bench.links.streams["a"].sent[0], "ab", "b")
        await answer
    async with bench.inferring(tensors=(request(),)):
        await eventually(lambda: len(bench.sent("a")) == 1 + 4)
        assert [each.tensors[0].shape[0] for each in bench.sent("a")[1:]] == [8] * 4


async def test_runner_runs_a_request_whole_where_outputs_cannot_be_joined():
    """A model that looks at more than single rows, which the check missed; that counts against splitting it."""
    bench = SplitBench("a", "b")
    bench.split("a", "b")
    bench.learn("a", "b")
    stream = bench.links.streams["a"].sent
    async with bench.inferring(tensors=(request(),)) as answer:
        answered = 0
        while not answer.done():
            for frame in stream[answered:]:
                bench.clock.now_s += 1.0
                bench.reply(frame, "ab", "b", too_many=frame.header.activation.split_of > 0)
                answered += 1
            await asyncio.sleep(0)
        assert bytes((await answer).tensors[0].data) == EXPECTED
        assert (await answer).trace.num_micro_batches == 1
    assert [bool(each.split_of) for each in bench.sent("a")] == [True] * (answered - 1) + [False]
    async with bench.inferring(tensors=(request(),)):
        await eventually(lambda: len(stream) > answered)
        assert not stream[-1].header.activation.split_of


async def test_runner_retries_a_lost_micro_batch_alone():
    """On another worker; the other micro-batches are not affected."""
    bench = SplitBench("a", "b", "c")
    bench.split("a", "b")
    bench.learn("a", "b")
    bench.learn("a", "c")
    stream = bench.links.streams["a"].sent
    async with bench.inferring(tensors=(request(),)) as answer:
        await eventually(lambda: len(stream) == IN_FLIGHT_PER_STAGE * 2)
        bench.split("a", "bc")
        bench.reply(stream[0], "ab", "b")
        bench.lose("b")
        done = {0}
        while not answer.done():
            for index in range(len(stream)):
                activation = stream[index].header.activation
                if index not in done and activation.route.hops[1].worker == "c":
                    done.add(index)
                    bench.reply(stream[index], "ac", "c")
            await asyncio.sleep(0)
        assert bytes((await answer).tensors[0].data) == EXPECTED
        assert (await answer).trace.attempts == 2
    again = [each for each in bench.sent("a") if each.key.attempt == 1]
    assert len(again) == IN_FLIGHT_PER_STAGE * 2 - 1
    assert bench.router.balancer.workers.own_s.sum() == pytest.approx(0.0)


async def test_runner_cancels_the_other_micro_batches_after_a_final_failure():
    """The error is the micro-batch's own."""
    bench = SplitBench("a", "b")
    bench.split("a", "b")
    bench.learn("a", "b")
    async with bench.inferring(tensors=(request(),)) as answer:
        await eventually(lambda: len(bench.sent("a")) == IN_FLIGHT_PER_STAGE * 2)
        bad, *others = bench.sent("a")
        bench.refuse("a", bad, "MODEL_RUN_FAILED", retriable=False)
        with pytest.raises(ModelRunFailed):
            await answer
        assert bench.dispatcher.num_in_flight == 0
    assert sorted(bench.links.streams["a"].cancelled) == [(each.key.number, 0) for each in others]


async def test_runner_cancels_all_micro_batches_when_the_client_cancels():
    """At every worker of the route."""
    bench = SplitBench("a", "b")
    bench.split("a", "b")
    bench.learn("a", "b")
    async with bench.inferring(tensors=(request(),)):
        await eventually(lambda: len(bench.sent("a")) == IN_FLIGHT_PER_STAGE * 2)
    for worker in "ab":
        assert len(bench.links.streams[worker].cancelled) == IN_FLIGHT_PER_STAGE * 2


def test_update_removes_what_was_learned_of_removed_stages_and_workers():
    """Costs of stages and workers that the table does not name any more."""
    bench = SplitBench("a", "b")
    bench.split("a", "b")
    bench.learn("a", "b")
    bench.split("a", "c")
    batcher = bench.batcher
    assert set(batcher._costs) == {("m/1/0", "a")}
    bench.update(RoutingTable.from_proto(RouteTable()))
    assert not batcher._costs
    assert not batcher._row_bytes
    assert not batcher._trials

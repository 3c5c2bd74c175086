"""Direct inputs of late stages: a real gateway, real workers, real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import numpy as np
import pytest

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.tensors.arrays import from_array
from tests.eventually import eventually
from tests.fakes.forwarding_worker import forwarding_worker
from tests.fakes.origin_gateway import origin_gateway
from tests.fakes.routed_models import routed_model
from tests.integration.gateway.running_gateway import running_gateway
from tests.integration.worker.direct_stages import DIRECT, ENTRY, INPUTS, expected, inputs, partitions

pytestmark = pytest.mark.usefixtures("data_plane")

LARGE = 3_000_000
"""12 MB a tensor: three chunks."""


def request_of(arrays, model="m"):
    request = oip.ModelInferRequest(model_name=model)
    for name, array in arrays.items():
        tensor = from_array(name, array)
        request.inputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
        request.raw_input_contents.append(bytes(tensor.data))
    return request


def routed(*stages):
    """A model with the workers given for each stage."""
    return routed_model(
        [[(worker.id, worker.address) for worker in workers] for workers in stages],
        inputs=tuple((name, "FP32", [-1]) for name in INPUTS),
        outputs=(("y", "FP32", [-1]),),
        direct={0: ENTRY, **DIRECT},
    )


async def placed(bench, *stages):
    """Places each stage on the workers given for it; those that only pass requests on hold nothing."""
    for index, (partition, workers) in enumerate(
        zip(partitions(bench.folder, bench.blobs), stages, strict=True)
    ):
        for worker in workers:
            if hasattr(worker, "scheduler"):
                await bench.place(worker, f"m/1/{index}", partition)
    return routed(*stages)


@asynccontextmanager
async def serving(model):
    async with running_gateway(workers="") as gateway:
        await gateway.publish(model)
        yield gateway


async def watching(bench, *workers):
    """Returns the loads that these workers publish, once a second."""
    gateway = await bench.gateway("watcher")
    for worker in workers:
        await gateway.links.connect(worker.id, worker.address)
    return gateway.loads


async def answered(gateway, arrays):
    answer = await gateway.infer(request_of(arrays), timeout=600)
    (raw,) = answer.raw_output_contents
    return np.array_equal(np.frombuffer(raw, "<f4"), expected(**arrays))


@pytest.mark.parametrize("size", [1, 1000, LARGE])
@pytest.mark.parametrize("layout", ["abc", "aba", "aaa"])
async def test_direct_inputs_reach_late_stages_and_the_request_is_answered(bench, layout, size):
    """Also where one worker has several hops, whose pieces then share a stream; nothing is left anywhere."""
    workers = {name: await bench.worker(name) for name in sorted(set(layout))}
    model = await placed(bench, *([workers[name]] for name in layout))
    loads = await watching(bench, *workers.values())
    async with serving(model) as gateway:
        assert await answered(gateway, inputs(size))
        await eventually(lambda: sum(loads[name].completed for name in workers) == 3)
        await eventually(
            lambda: all(loads[name].in_flight_bytes == loads[name].dropped == 0 for name in workers)
        )


async def test_direct_inputs_of_many_requests_of_all_sizes_are_not_mixed_up(bench):
    """Main parts and direct parts of different requests mix on every stream."""
    a, b = await bench.worker("a"), await bench.worker("b")
    model = await placed(bench, [a, b], [a, b], [a, b])
    loads = await watching(bench, a, b)
    async with serving(model) as gateway:
        sizes = [1, 10, 2000, 1_500_000, 3, 500_000] * 4
        answers = await asyncio.gather(
            *(answered(gateway, inputs(size, seed)) for seed, size in enumerate(sizes))
        )
        assert all(answers)
        # More if a heartbeat was late on a busy machine and an attempt moved to another replica.
        await eventually(lambda: loads["a"].completed + loads["b"].completed >= 3 * len(sizes))
        await eventually(lambda: loads["a"].in_flight_bytes == loads["b"].in_flight_bytes == 0)


async def test_direct_inputs_move_with_the_request_when_a_worker_dies(bench):
    """The stage before has not even run; the client sees an answer."""
    # Through gRPC, so that it can be killed in this very process.
    b1 = await bench.worker("b1", same_host=False)
    b2, c = await bench.worker("b2"), await bench.worker("c")
    async with forwarding_worker("a") as a:
        model = await placed(bench, [a], [b1], [c])
        await placed(bench, [], [b2], [])
        loads = await watching(bench, b1, b2, c)
        async with serving(model) as gateway:
            arrays = inputs(1000)
            answer = asyncio.ensure_future(answered(gateway, arrays))
            await eventually(lambda: loads["b1"].in_flight_bytes == 4000)
            # Once the gateway knows of the other model, it knows of the other replica.
            marker = routed_model([[(a.id, a.address)]], name="marker")
            await gateway.publish(routed([a], [b1, b2], [c]), marker)
            await b1.kill()
            await eventually(lambda: len(a.activations) == 2)
            assert [key.attempt for key in a.cancels] == [0]
            again = a.activations[1]
            assert (again.key.attempt, again.route.hops[1].worker) == (1, "b2")
            await a.forward(again, [from_array("h", -arrays["x"])])
            assert await answer
            # The part of the first attempt at the last stage went with its Cancel.
            await eventually(lambda: (loads["c"].completed, loads["c"].dropped) == (1, 1))
            await eventually(lambda: loads["c"].in_flight_bytes == 0)


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_direct_inputs_of_an_ended_request_are_released(bench, end):
    """Its direct parts are pending, for the stage before never sends; then they are released."""
    b, c = await bench.worker("b"), await bench.worker("c")
    async with forwarding_worker("a") as a:
        loads = await watching(bench, b, c)
        async with serving(await placed(bench, [a], [b], [c])) as gateway:
            size, timeout_s = (LARGE, 60) if end == "cancelled" else (1000, 1)
            call = gateway.infer(request_of(inputs(size)), timeout=timeout_s)
            if end == "cancelled":
                await eventually(lambda: loads["b"].in_flight_bytes == 4 * LARGE)
                await eventually(lambda: loads["c"].in_flight_bytes == 12 * LARGE)
                call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await call
            await eventually(lambda: loads["b"].dropped == loads["c"].dropped == 1)
            await eventually(lambda: loads["b"].in_flight_bytes == loads["c"].in_flight_bytes == 0)
            # A main part that arrives later is not kept either.
            await a.forward(a.activations[0], [from_array("h", np.zeros(3, np.float32))])
            await eventually(lambda: loads["b"].dropped == 2)
            await eventually(lambda: loads["b"].in_flight_bytes == 0)


async def stage_1(bench, **settings):
    """A worker with the middle stage alone, the route on which it is the last hop, and a gateway's end."""
    worker = await bench.worker("b", **settings)
    await placed(bench, [], [worker], [])
    return worker, [("m/1/0", "a", "127.0.0.1:1"), worker.hop("m/1/1")], await bench.gateway()


async def send_main(gateway, route, h, number=None, **more):
    return await gateway.send(route, {"h": np.float32(h)}, hop=1, number=number, **more)


async def send_direct(gateway, route, u, number=None, **more):
    return await gateway.send(route, {"u": np.float32(u)}, hop=1, number=number, direct=True, **more)


@pytest.mark.parametrize("order", [(send_main, send_direct), (send_direct, send_main)])
async def test_direct_parts_and_main_parts_may_arrive_in_either_order(bench, order):
    """The stage runs when the second is there."""
    _, route, gateway = await stage_1(bench)
    first, second = order
    number = await first(gateway, route, [1, 2])
    await second(gateway, route, [10, 20], number)
    assert (await gateway.answer(number))["g"].tolist() == [11, 22]


async def test_direct_parts_without_a_main_part_expire(bench):
    """With a Failure; one without a deadline ends with its gateway's link."""
    worker, route, gateway = await stage_1(bench)
    loads = await watching(bench, worker)
    late = await send_direct(gateway, route, [1], deadline_s=0.05)
    failure = await gateway.failure(late)
    assert (failure.reason, failure.worker) == ("DEADLINE_EXCEEDED", "b")
    async with origin_gateway("another") as another:
        await send_direct(another, route, [1])
        await send_main(another, route, [1])
        await eventually(lambda: loads["b"].in_flight_bytes == 8)
    await eventually(lambda: (loads["b"].in_flight_bytes, loads["b"].dropped) == (0, 3))


async def test_direct_parts_that_do_not_fit_are_refused_alone(bench):
    """With the reason; a pending request is answered."""
    worker, route, gateway = await stage_1(bench)
    await bench.place(worker, "m/1/0", partitions(bench.folder, bench.blobs)[0])
    waits = await send_direct(gateway, route, [5])
    one = np.float32([1])
    for inputs_, hops, message in [
        ({"w": one}, route, "'u' straight from the gateway; the direct part has 'w'"),
        ({"u": one, "w": one}, route, "'u' straight from the gateway; the direct part has 'u', 'w'"),
        (
            {"x": one},
            [route[0], worker.hop("m/1/0")],
            "m/1/0 receives nothing straight from the gateway; the direct part has 'x'",
        ),
    ]:
        failure = await gateway.failure(await gateway.send(hops, inputs_, hop=1, direct=True))
        assert (failure.reason, failure.retriable) == ("CORRUPT_DATA", True)
        assert message in failure.message
    both = await gateway.send(route, {"h": one, "u": one}, hop=1)
    assert (
        "'u' straight from the gateway; the stage before sent it too" in (await gateway.failure(both)).message
    )
    missing = await gateway.send([route[0], worker.hop("m/9/1")], {"u": one}, hop=1, direct=True)
    assert "b does not hold m/9/1" in (await gateway.failure(missing)).message
    await send_main(gateway, route, [2], waits)
    assert (await gateway.answer(waits))["g"].tolist() == [7]


@pytest.mark.parametrize("settings", [{"queue_size": 2}, {"waiting_bytes": 8}])
async def test_direct_parts_beyond_the_limits_are_refused(bench, settings):
    """Beyond, they are refused at once; those that wait are answered."""
    _, route, gateway = await stage_1(bench, **settings)
    waiting = [await send_direct(gateway, route, [number]) for number in range(2)]
    failure = await gateway.failure(await send_direct(gateway, route, [9]))
    assert (failure.reason, failure.retriable) == ("OVERLOADED", True)
    assert failure.retry_after_ms > 0
    for number, each in enumerate(waiting):
        await send_main(gateway, route, [1], each)
        assert (await gateway.answer(each))["g"].tolist() == [1 + number]


async def test_direct_parts_are_accepted_while_draining(bench):
    """Both for a pending first part, and for parts that arrive while draining."""
    worker, route, gateway = await stage_1(bench)
    before = await send_direct(gateway, route, [1])
    other = await send_main(gateway, route, [0])
    await send_direct(gateway, route, [0], other)
    await gateway.answer(other)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.stop())
        await worker.scheduler.wait_for("draining")
        during = await send_direct(gateway, route, [2])
        for number, u in ((during, 2), (before, 1)):
            await send_main(gateway, route, [10], number)
            assert (await gateway.answer(number))["g"].tolist() == [10 + u]


async def test_direct_parts_at_an_evicted_stage_are_refused_at_once(bench):
    """Another replica can run the request."""
    worker, route, gateway = await stage_1(bench)
    number = await send_direct(gateway, route, [1])
    other = await send_main(gateway, route, [0])
    await send_direct(gateway, route, [0], other)
    await gateway.answer(other)
    await worker.scheduler.evict("m/1/1")
    failure = await gateway.failure(number)
    assert (failure.reason, failure.retriable) == ("STAGE_GONE", True)
    assert (await worker.scheduler.wait_for("stage_evicted")).stage == "m/1/1"

"""Faults of requests on real workers, one at a time."""

from __future__ import annotations

import asyncio
import socket

import grpc.aio
import numpy as np
import pytest

from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.links import Links
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually
from tests.integration.worker.stage_models import reshaping, slow, wide

pytestmark = pytest.mark.usefixtures("data_plane")

LARGE = np.ones((1024, 1024), np.float32)
SMALL = np.ones(4, np.float32)


async def test_fault_cancelled_request_never_reaches_the_next_stage(bench):
    """The counters say so: all are dropped by the first worker, the second has seen none."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(slow(rounds=8), [9], first, second)
    gateway = await bench.gateway()
    numbers = [await gateway.send(route, {"x": LARGE}) for _ in range(4)]
    for number in numbers:
        await gateway.cancel(number, "a", "b")
    await eventually(lambda: gateway.loads["a"].dropped == 4)
    await eventually(lambda: not gateway.loads["a"].in_flight_bytes)
    assert gateway.loads["b"].completed == gateway.loads["b"].dropped == 0
    assert not gateway.results
    assert not gateway.failures


async def test_fault_cancel_before_its_activation(bench):
    """The Activation is then dropped."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(wide(), [1], first, second)
    gateway = await bench.gateway()
    await gateway.links.connect("b", second.address)
    await gateway.cancel(99, "b")
    await gateway.send(route, {"x": SMALL}, number=99)
    await eventually(lambda: gateway.loads["b"].dropped == 1)
    assert gateway.loads["b"].completed == 0
    assert 99 not in gateway.results


async def test_fault_late_request_fails_with_deadline_exceeded(bench):
    """Late on arrival, or while it was queued."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(slow(rounds=8), [9], first, second)
    gateway = await bench.gateway()
    late = await gateway.send(route, {"x": LARGE}, deadline_s=0)
    busy = await gateway.send(route, {"x": LARGE})
    waited = await gateway.send(route, {"x": LARGE}, deadline_s=0.05)
    for number in (late, waited):
        failure = await gateway.failure(number)
        assert (failure.reason, failure.retriable, failure.worker) == ("DEADLINE_EXCEEDED", False, "a")
    await gateway.answer(busy)
    await eventually(lambda: gateway.loads["a"].dropped == 2)
    await eventually(lambda: gateway.loads["b"].completed == 1)


async def test_fault_unreachable_next_worker_is_named(bench):
    """By the worker that wanted to forward to it."""
    first = await bench.worker("a")
    partitions = bench.partitions(wide(), [1])
    await bench.place(first, "m/1/0", partitions[0])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{unused.getsockname()[1]}"
    gateway = await bench.gateway()
    number = await gateway.send([first.hop("m/1/0"), ("m/1/1", "b", nowhere)], {"x": SMALL})
    failure = await gateway.failure(number)
    assert (failure.reason, failure.worker, failure.retriable) == ("UNAVAILABLE", "b", True)
    await eventually(lambda: gateway.loads["a"].failed == 1)


async def test_fault_lost_link_fails_its_requests(bench):
    """The worker before the lost one sends the Failure."""
    first = await bench.worker("a")
    await bench.place(first, "m/1/0", bench.partitions(wide(), [1])[0])
    gateway = await bench.gateway()
    received = []
    server = grpc.aio.server()
    async with Links("b", 1, on_frame=lambda _, frame: received.append(frame)) as mute:
        server.add_generic_rpc_handlers((mute.handler(),))
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        number = await gateway.send([first.hop("m/1/0"), ("m/1/1", "b", address)], {"x": SMALL})
        await eventually(lambda: received)
    failure = await gateway.failure(number)
    assert (failure.reason, failure.worker, failure.retriable) == ("UNAVAILABLE", "b", True)
    await server.stop(None)


async def test_fault_stage_that_is_not_held_is_retriable(bench):
    """So is a route that means another worker."""
    only = await bench.worker("a")
    gateway = await bench.gateway()
    failure = await gateway.failure(await gateway.send([only.hop("m/9/0")], {"x": SMALL}))
    assert (failure.reason, failure.worker, failure.retriable) == ("STAGE_GONE", "a", True)
    assert "a does not hold m/9/0" in failure.message
    header = frame_pb2.Activation(
        key=frame_pb2.RequestKey(origin="gateway-1", number=50),
        route=frame_pb2.Route(hops=[frame_pb2.Hop(stage="m/1/0", worker="z")]),
    )
    await gateway.links.get("a").send(Frame(frame_pb2.FrameHeader(activation=header)))
    assert "the route names worker z" in (await gateway.failure(50)).message


async def test_fault_failed_run_fails_its_request_alone(bench):
    """In the middle of the pipeline; the message is ONNX Runtime's, without paths of its build."""
    first, second = await bench.worker("a"), await bench.worker("b")
    route = await bench.pipeline(reshaping(), [1], first, second)
    gateway = await bench.gateway()
    bad = await gateway.send(route, {"x": np.ones(5, np.float32), "shape": np.array([2, 2])})
    failure = await gateway.failure(bad)
    assert (failure.reason, failure.worker, failure.retriable) == ("MODEL_RUN_FAILED", "b", False)
    assert "m/1/1" in failure.message
    assert "/onnxruntime" not in failure.message
    good = await gateway.send(route, {"x": np.ones(4, np.float32), "shape": np.array([2, 2])})
    assert (await gateway.answer(good))["y"].tolist() == [[1, 1], [1, 1]]
    await eventually(lambda: gateway.loads["b"].failed == 1)


@pytest.mark.parametrize(
    ("tensor", "reason"),
    [
        (Tensor("x", Datatype.FP64, (1,), bytes(8)), "INVALID_REQUEST"),
        (Tensor("x", Datatype.FP32, (3,), bytes(4)), "CORRUPT_DATA"),
        (Tensor("x", Datatype.FP32, (-1,), bytes(4)), "CORRUPT_DATA"),
        (Tensor("z", Datatype.FP32, (1,), bytes(4)), "INVALID_REQUEST"),
        (Tensor("x", "COMPLEX", (1,), bytes(8)), "CORRUPT_DATA"),
    ],
)
async def test_fault_malformed_tensor_fails_its_request_alone(bench, tensor, reason):
    """Wrong type, wrong size, impossible shape, missing input, unknown type."""
    only = await bench.worker("a")
    route = await bench.pipeline(wide(), [], only)
    gateway = await bench.gateway()
    assert (await gateway.failure(await gateway.send(route, {"x": tensor}))).reason == reason
    assert (await gateway.answer(await gateway.send(route, {"x": SMALL})))["y"].tolist() == [1] * 4


async def test_fault_unknown_output_is_an_invalid_request(bench):
    """A gateway would refuse it earlier."""
    only = await bench.worker("a")
    route = await bench.pipeline(wide(), [], only)
    gateway = await bench.gateway()
    failure = await gateway.failure(await gateway.send(route, {"x": SMALL}, outputs=["z"]))
    assert (failure.reason, failure.retriable) == ("INVALID_REQUEST", False)


async def test_fault_full_queue_refuses_with_a_retry_delay(bench):
    """Queued requests are answered."""
    only = await bench.worker("a", queue_size=2)
    route = await bench.pipeline(slow(rounds=8), [], only)
    gateway = await bench.gateway()
    numbers = []
    while not gateway.failures:  # one runs and two wait at the most, whatever the speed of the machine
        numbers.append(await gateway.send(route, {"x": LARGE}))
        await asyncio.sleep(0)
    await eventually(lambda: len(gateway.results) + len(gateway.failures) == len(numbers))
    refused = [failures[0] for failures in gateway.failures.values()]
    assert len(numbers) - len(refused) >= 3
    assert all(f.reason == "OVERLOADED" and f.retriable and f.retry_after_ms > 0 for f in refused)
    assert numbers[0] in gateway.results


async def test_fault_evicted_stage_finishes_its_requests_and_refuses_new_ones(bench):
    """Requests that arrive during and after the eviction are retriable failures."""
    only = await bench.worker("a")
    route = await bench.pipeline(slow(rounds=4), [], only)
    gateway = await bench.gateway()
    queued = [await gateway.send(route, {"x": LARGE}) for _ in range(3)]
    # A second stage on the same link: when it has answered, the worker has what was sent before.
    other = await bench.pipeline(wide(), [], only, name="other")
    await gateway.answer(await gateway.send(other, {"x": SMALL}))
    await only.scheduler.evict("m/1/0")
    for number in queued:
        await gateway.answer(number)
    assert (await only.scheduler.wait_for("stage_evicted")).stage == "m/1/0"
    failure = await gateway.failure(await gateway.send(route, {"x": LARGE}))
    assert (failure.reason, failure.retriable) == ("STAGE_GONE", True)


async def test_fault_stopping_worker_finishes_its_requests(bench):
    """Schedulers get Draining first; gateways get Goodbye after the last answer."""
    only = await bench.worker("a")
    route = await bench.pipeline(slow(rounds=8), [], only)
    other = await bench.pipeline(wide(), [], only, name="other")
    gateway = await bench.gateway()
    running = await gateway.send(route, {"x": LARGE})
    await gateway.answer(await gateway.send(other, {"x": SMALL}))
    async with asyncio.TaskGroup() as group:
        group.create_task(only.stop())
        await only.scheduler.wait_for("draining")
        refused = await gateway.failure(await gateway.send(other, {"x": SMALL}))
        assert (refused.reason, refused.retriable) == ("UNAVAILABLE", True)
    assert running in gateway.results
    await eventually(lambda: gateway.lost == ["a"])
    await eventually(only.scheduler.ended.is_set)

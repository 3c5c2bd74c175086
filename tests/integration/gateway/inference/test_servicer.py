"""Requests through a real gateway to workers on real sockets."""

from __future__ import annotations

import asyncio
import json
import socket

import grpc
import grpc.aio
import numpy as np
import pytest

from onnxmesh.errors import DeadlineExceeded, InvalidRequest, NotFound, Overloaded, TooLarge, Unavailable
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.tensors.arrays import from_array
from onnxmesh.v1 import frame_pb2
from tests.eventually import eventually
from tests.fakes.fake_stage_worker import FakeStageWorker
from tests.integration.gateway.running_gateway import SERVICE, double, request_of, running_gateway

pytestmark = pytest.mark.usefixtures("data_plane")


async def refused(call):
    """The mesh error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def test_servicer_returns_the_result_of_the_model():
    """id is echoed, the version is the actual one, every output has its raw entry."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", "b", version=3))
        answer = await gateway.infer(request_of(np.float32([[1, 2, 3, 4]]), id="r7"))
        assert (answer.model_name, answer.model_version, answer.id) == ("m", "3", "r7")
        assert [(out.name, out.datatype, list(out.shape)) for out in answer.outputs] == [
            ("y", "FP32", [1, 4])
        ]
        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [2, 4, 6, 8]
        assert not answer.outputs[0].HasField("contents")
        assert not answer.parameters
        (sent,) = gateway.workers["a"].activations
        assert [hop.worker for hop in sent.route.hops] == ["a", "b"]
        assert sent.request_id == "r7"


async def test_servicer_returns_raw_contents_for_typed_ones():
    """Both forms are taken, one is given."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        request = request_of()
        del request.raw_input_contents[:]
        request.inputs[0].contents.fp32_contents.extend([1, 2, 3, 4])
        answer = await gateway.infer(request)
        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [2, 4, 6, 8]


async def test_servicer_returns_the_trace_of_the_route():
    """A parameter requests the trace; it comes as JSON that the client library reads."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", "b"))
        request = request_of()
        request.parameters["mesh.trace"].bool_param = True
        answer = await gateway.infer(request)
        trace = json.loads(answer.parameters["mesh.trace"].string_param)
        assert trace["attempts"] == 1
        assert trace["total_us"] > 0
        assert trace["return_us"] >= 0
        assert trace["hops"] == [
            {
                "stage": f"m/1/{stage}",
                "worker": worker,
                "queue_us": 1.0,
                "compute_us": 2.0,
                "wire_us": 3.0,
                "batch": 1,
                "plain_bytes": 0,
                "wire_bytes": 0,
            }
            for stage, worker in enumerate("ab")
        ]


async def test_servicer_runs_a_request_larger_than_a_chunk():
    """Large tensors go and come in pieces."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        array = np.arange(4 << 20, dtype=np.float32).reshape(-1, 4)
        answer = await gateway.infer(request_of(array))
        assert np.array_equal(
            np.frombuffer(answer.raw_output_contents[0], "<f4"), array.ravel() * np.float32(2)
        )


async def test_servicer_returns_outputs_in_the_requested_order():
    """A subset reaches the worker; without one, all come in the order of the signature."""

    def two(tensors):
        (y,) = double(tensors)
        return [y.renamed("z"), y]

    outputs = (("y", "FP32", [-1, 4]), ("z", "FP32", [-1, 4]))
    async with running_gateway(model=two) as gateway:
        await gateway.publish(gateway.routed("a", outputs=outputs))
        answer = await gateway.infer(request_of())
        assert [out.name for out in answer.outputs] == ["y", "z"]
        request = request_of()
        request.outputs.add(name="z")
        answer = await gateway.infer(request)
        assert [out.name for out in answer.outputs] == ["z"]
        assert len(answer.raw_output_contents) == 1
        assert list(gateway.workers["a"].activations[-1].requested_outputs) == ["z"]


async def test_servicer_refuses_invalid_requests_and_answers_the_next():
    """Each has its class, and none disturbs what follows."""
    async with running_gateway() as gateway:
        early = await refused(gateway.infer(request_of()))
        assert isinstance(early, Unavailable)
        assert "has no route table of a scheduler" in early.message
        await gateway.publish(gateway.routed("a"))
        wrong = request_of()
        wrong.inputs[0].datatype = "INT8"
        cases = [
            (request_of(model="x"), NotFound, "unknown model 'x': deployed models are 'm'"),
            (request_of(model_version="9"), NotFound, "model 'm' has no version 9: deployed versions are 1"),
            (
                request_of(model_version="new"),
                InvalidRequest,
                "model 'm': expected a whole number as version, got 'new'",
            ),
            (wrong, InvalidRequest, "input 'x': expected FP32, got 'INT8'"),
        ]
        for request, kind, message in cases:
            error = await refused(gateway.infer(request))
            assert (type(error), error.message) == (kind, message)
            await gateway.infer(request_of())


async def test_servicer_refuses_malformed_messages():
    """A body that does not parse is INVALID_ARGUMENT and reveals nothing of the code."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        for method in ("ModelInfer", "ModelReady", "ModelMetadata", "ServerLive"):
            call = gateway.channel.unary_unary(SERVICE + method)
            assert isinstance(await refused(call(b"\xff\xff\xff\xff", timeout=20)), InvalidRequest)
        await gateway.infer(request_of())


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes(4096),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ],
    ids=["http1", "zeros", "broken http2"],
)
async def test_server_survives_garbage_on_its_port(garbage):
    """Bytes that are no gRPC end their own connection alone."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))

        def throw():
            host, port = gateway.address.split(":")
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(garbage)
                connection.shutdown(socket.SHUT_WR)
                try:
                    while connection.recv(4096):
                        pass
                except ConnectionResetError:
                    pass

        await asyncio.to_thread(throw)
        await gateway.infer(request_of())


async def test_servicer_refuses_a_response_over_the_limit():
    """The client learns both figures instead of a broken stream; a request over it is refused too."""

    def blow_up(tensors):
        return [from_array("y", np.zeros((2048, 4), np.float32))]

    async with running_gateway(model=blow_up, max_message_bytes=4096) as gateway:
        await gateway.publish(gateway.routed("a"))
        error = await refused(gateway.infer(request_of()))
        assert isinstance(error, TooLarge)
        assert "the response has 32" in error.message
        assert "the limit of a message is 4096" in error.message
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as caught:
            await gateway.infer(request_of(np.ones((2048, 4), np.float32)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_killed_worker_fails_no_request():
    """What it held is answered by another replica."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"))
        for worker in gateway.workers.values():
            worker.holding = True
        a, b = gateway.workers["a"], gateway.workers["b"]
        calls = []
        while not (a.activations and b.activations):  # the link to one may be established later
            calls.append(gateway.infer(request_of(id=str(len(calls)))))
            await eventually(lambda: len(a.activations) + len(b.activations) == len(calls))
        b.holding = False
        b.release()
        await a.kill()
        answers = await asyncio.gather(*calls)
        assert sorted(int(answer.id) for answer in answers) == list(range(len(calls)))


async def test_killed_worker_without_another_replica_fails_requests_at_once():
    """UNAVAILABLE names model, stage and worker; a worker that comes back serves again by itself."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", "b"))
        a, b = gateway.workers["a"], gateway.workers["b"]
        a.holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: a.activations)
        await b.kill()
        error = await refused(call)
        assert isinstance(error, Unavailable)
        assert "model 'm' version 1: stage 1 has no live replica left: worker 'b'" in error.message
        error = await refused(gateway.infer(request_of()))
        assert "worker 'b': b at" in error.message
        a.holding = False
        again = FakeStageWorker("b", double)
        async with again.running(port=int(b.address.rpartition(":")[2]), generation=2):
            await gateway.infer(request_of())


async def test_error_names_a_stage_without_a_replica():
    """The request fails at once instead of waiting for a replica."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", ""))
        error = await refused(gateway.infer(request_of()))
        assert error.message == "model 'm' version 1: stage 1 has no live replica"


async def test_stale_results_are_dropped():
    """The first route's answer, late and different, never reaches the client."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab"))
        for worker in gateway.workers.values():
            worker.holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: any(w.activations for w in gateway.workers.values()))
        (first,) = [worker for worker in gateway.workers.values() if worker.activations]
        (second,) = [worker for worker in gateway.workers.values() if worker is not first]
        key = first.activations[0].key
        failure = frame_pb2.Failure(key=key, reason="UNAVAILABLE", message="no capacity", retriable=True)
        first.send(frame_pb2.FrameHeader(failure=failure))
        await eventually(lambda: second.activations and first.cancels)
        first._model = lambda tensors: [double(double(tensors))[0]]
        first.release()
        await eventually(lambda: not first._held)
        second.release()
        answer = await call
        assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [2, 2, 2, 2]


async def test_cancellation_by_the_client_reaches_every_worker():
    """Each hop gets a Cancel frame for the request."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a", "b"))
        a, b = gateway.workers["a"], gateway.workers["b"]
        a.holding = True
        call = gateway.infer(request_of())
        await eventually(lambda: a.activations)
        call.cancel()
        await eventually(lambda: a.cancels and b.cancels)
        assert a.cancels[0] == b.cancels[0] == a.activations[0].key


@pytest.mark.parametrize("by", ["grpc", "parameter", "default"])
async def test_deadline_ends_a_request_at_client_gateway_and_worker(by):
    """Whichever set it; the worker is sent what remains. A busy machine may need more time until the worker has it."""
    timeout_s = 0.1
    sent = []
    while not sent:
        timeout_s *= 2
        settings = {"default_timeout_s": timeout_s} if by == "default" else {}
        async with running_gateway(**settings) as gateway:
            await gateway.publish(gateway.routed("a"))
            a = gateway.workers["a"]
            a.holding = True
            request = request_of()
            if by == "parameter":
                request.parameters["timeout"].int64_param = round(timeout_s * 1e6)
            error = await refused(gateway.infer(request, timeout=timeout_s if by == "grpc" else None))
            assert isinstance(error, DeadlineExceeded)
            sent = a.activations
            if sent:
                await eventually(lambda: a.cancels)  # noqa: B023 - it ends within this iteration
                assert 0 < sent[0].remaining_us < 1.25 * timeout_s * 1e6


async def test_servicer_refuses_requests_beyond_max_in_flight():
    """One more is refused with a delay, and admitted when another has ended."""
    async with running_gateway(max_in_flight=2) as gateway:
        await gateway.publish(gateway.routed("a"))
        a = gateway.workers["a"]
        a.holding = True
        calls = [gateway.infer(request_of()) for _ in range(2)]
        await eventually(lambda: len(a.activations) == 2)
        error = await refused(gateway.infer(request_of()))
        assert isinstance(error, Overloaded)
        assert error.retry_after_s
        a.holding = False
        a.release()
        await asyncio.gather(*calls)
        await gateway.infer(request_of())


async def test_servicer_survives_a_thousand_disconnected_clients():
    """Their requests are cancelled at the workers, and the next one is answered."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("ab", "ab"))
        for worker in gateway.workers.values():
            worker.holding = True
        for _ in range(10):
            async with grpc.aio.insecure_channel(
                gateway.address, [("grpc.use_local_subchannel_pool", 1)]
            ) as channel:
                infer = channel.unary_unary(SERVICE + "ModelInfer")
                message = request_of().SerializeToString()
                calls = [infer(message, timeout=60) for _ in range(100)]
                before = sum(len(worker.activations) for worker in gateway.workers.values())
                await eventually(
                    lambda before=before: (
                        sum(len(worker.activations) for worker in gateway.workers.values()) > before
                    )
                )
            for call in calls:
                call.cancel()
        sent = {key(item.key) for worker in gateway.workers.values() for item in worker.activations}
        await eventually(
            lambda: {key(item) for w in gateway.workers.values() for item in w.cancels} >= sent, 60
        )
        for worker in gateway.workers.values():
            worker.holding = False
        answer = await gateway.infer(request_of(id="good"))
        assert answer.id == "good"


def key(request_key):
    return request_key.number, request_key.attempt


async def test_versions_of_a_model_are_served_side_by_side():
    """The version is requested by number, or is the newest that can answer."""
    async with running_gateway() as gateway:
        await gateway.publish(
            gateway.routed("a", version=1), gateway.routed("b", version=2), gateway.routed("", version=3)
        )
        assert (await gateway.infer(request_of())).model_version == "2"
        assert (await gateway.infer(request_of(model_version="1"))).model_version == "1"
        metadata = await gateway.call("ModelMetadata", oip.ModelMetadataRequest(name="m"))
        assert list(metadata.versions) == ["1", "2", "3"]

"""Standard clients against a real gateway: tritonclient, and plain gRPC that knows no stubs."""

from __future__ import annotations

import asyncio
import importlib.metadata
import subprocess
import sys

import grpc
import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.tensor import Tensor
from tests.eventually import eventually
from tests.integration.gateway.running_gateway import SERVICE, request_of, running_gateway

pytestmark = pytest.mark.usefixtures("data_plane")

DTYPES = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
    "BF16": ml_dtypes.bfloat16,
}


def echo(tensors):
    return [tensor.renamed("out_" + tensor.name) for tensor in tensors]


def sample(name, dtype):
    if name == "BYTES":
        return np.array([b"", b"one", "zw\u00f6lf".encode()], dtype=np.object_)
    return np.array([0, 1, 1], dtype=dtype)


def every_datatype(gateway):
    return gateway.routed(
        "a",
        inputs=tuple((name, name, [-1]) for name in DTYPES),
        outputs=tuple(("out_" + name, name, [-1]) for name in DTYPES),
    )


async def test_tritonclient_sends_and_gets_every_datatype():
    """Arrays of all fourteen datatypes come back as they went, in one request."""
    async with running_gateway(model=echo) as gateway:
        await gateway.publish(every_datatype(gateway))

        def drive():
            with triton.InferenceServerClient(gateway.address) as client:
                assert client.is_server_live()
                assert client.is_server_ready()
                assert client.is_model_ready("m")
                assert not client.is_model_ready("other")
                inputs = [
                    triton.InferInput(name, [3], name).set_data_from_numpy(sample(name, dtype))
                    for name, dtype in DTYPES.items()
                ]
                result = client.infer("m", inputs, request_id="t1", priority=2, client_timeout=300)
                assert result.get_response().id == "t1"
                for name, dtype in DTYPES.items():
                    array = result.as_numpy("out_" + name)
                    assert array.tolist() == sample(name, dtype).tolist(), name
                with pytest.raises(triton.InferenceServerException, match="unknown model 'x'") as caught:
                    client.infer("x", inputs)
                assert caught.value.status() == "StatusCode.NOT_FOUND"

        await asyncio.to_thread(drive)


@pytest.mark.parametrize("edge", ["http2", "grpc"])
async def test_tritonclient_in_asyncio(edge):
    """Many at once, each with its own answer, and a subset of the outputs, with the edge and without."""
    async with running_gateway(edge=edge) as gateway:
        await gateway.publish(gateway.routed("ab", "ab"))
        async with triton_aio.InferenceServerClient(gateway.address) as client:
            metadata = await client.get_model_metadata("m")
            assert (metadata.platform, list(metadata.versions)) == ("onnxruntime_onnx", ["1"])

            async def one(value):
                array = np.full((1, 4), value, np.float32)
                tensor = triton_aio.InferInput("x", [1, 4], "FP32").set_data_from_numpy(array)
                outputs = [triton_aio.InferRequestedOutput("y")]
                result = await client.infer("m", [tensor], outputs=outputs, request_id=str(value))
                assert result.get_response().id == str(value)
                assert result.as_numpy("y").tolist() == (array * 2).tolist()

            await asyncio.gather(*(one(value) for value in range(100)))


async def test_metadata_of_server_and_models():
    """Server and model say what they are; only what is done is advertised."""
    async with running_gateway() as gateway:
        ready = await gateway.call("ServerReady", oip.ServerReadyRequest())
        assert not ready.ready
        await gateway.publish(gateway.routed("a", version=4))
        assert (await gateway.call("ServerLive", oip.ServerLiveRequest())).live
        assert (await gateway.call("ServerReady", oip.ServerReadyRequest())).ready
        server = await gateway.call("ServerMetadata", oip.ServerMetadataRequest())
        assert server.name == "onnxmesh"
        assert server.version == importlib.metadata.version("onnxmesh")
        assert not server.extensions
        model = await gateway.call("ModelMetadata", oip.ModelMetadataRequest(name="m", version="4"))
        assert [(spec.name, spec.datatype, list(spec.shape)) for spec in model.inputs] == [
            ("x", "FP32", [-1, 4])
        ]
        assert [(spec.name, spec.datatype, list(spec.shape)) for spec in model.outputs] == [
            ("y", "FP32", [-1, 4])
        ]
        assert dict(model.properties) == {"version": "4", "stages": "1"}
        with pytest.raises(grpc.aio.AioRpcError, match="has no version 5: deployed versions are 4"):
            await gateway.call("ModelMetadata", oip.ModelMetadataRequest(name="m", version="5"))


async def test_health_of_the_gateway_and_of_each_model():
    """A balancer and an operator see what can answer."""
    serving, stopped, unknown = (
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
        health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
    )
    async with running_gateway() as gateway:
        stub = health_pb2_grpc.HealthStub(gateway.channel)

        async def check(service):
            request = health_pb2.HealthCheckRequest(service=service)
            return (await stub.Check(request, timeout=300)).status

        own = ["", "inference.GRPCInferenceService", "onnxmesh.v1.Routing"]
        assert [await check(service) for service in own] == [stopped] * 3
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="mesh.model/m"))
        seen = aiter(watch)
        assert (await anext(seen)).status == unknown
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check("mesh.model/m")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        await gateway.publish(gateway.routed("a"))
        assert (await anext(seen)).status == serving
        assert await check("") == serving
        await gateway.publish(gateway.routed(""))
        assert (await anext(seen)).status == stopped
        await gateway.publish()
        assert (await anext(seen)).status == unknown
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check("mesh.model/m")  # SERVICE_UNKNOWN is a status of Watch alone
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert [await check(service) for service in [*own, "onnxmesh.v1.Mesh"]] == [serving] * 4
        watch.cancel()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_serves_a_client_without_stubs(version):
    """Every message that the call needs comes from the gateway itself, by either version of the reflection service."""
    async with running_gateway() as gateway:
        await gateway.publish(gateway.routed("a"))
        info = gateway.channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )()

        async def reflect(**question):
            await info.write(reflection_pb2.ServerReflectionRequest(**question))
            return await info.read()

        services = (await reflect(list_services="")).list_services_response.service
        assert {service.name for service in services} == {
            "inference.GRPCInferenceService",
            "onnxmesh.v1.Mesh",
            "onnxmesh.v1.Routing",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        pool = DescriptorPool()
        for service in services:
            answer = await reflect(file_containing_symbol=service.name)
            files = [
                FileDescriptorProto.FromString(file)
                for file in answer.file_descriptor_response.file_descriptor_proto
            ]
            assert files
            if service.name == "inference.GRPCInferenceService":
                for file in files:
                    pool.Add(file)
        info.cancel()
        method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ModelInfer"]
        request_type, response_type = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = gateway.channel.unary_unary(
            SERVICE + method.name, request_type.SerializeToString, response_type.FromString
        )
        tensor = from_array("x", np.ones((1, 4), np.float32))
        request = request_type(model_name="m", raw_input_contents=[bytes(tensor.data)])
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        answer = await call(request, timeout=300)
        result = Tensor("y", tensor.datatype, (1, 4), answer.raw_output_contents[0])
        assert to_array(result).tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize("edge", ["http2", "grpc"])
async def test_gateway_finishes_its_requests_when_it_stops(edge):
    """New requests go elsewhere; those that run are answered; the registration ends."""
    async with running_gateway(edge=edge) as gateway:
        await gateway.publish(gateway.routed("a"))
        a = gateway.workers["a"]
        a.holding = True
        call = gateway.infer(request_of(id="last"))
        await eventually(lambda: a.activations)
        stop = asyncio.ensure_future(gateway.stopping.aclose())
        await eventually(lambda: not gateway.scheduler.instances)
        code = None
        while code is not grpc.StatusCode.UNAVAILABLE:
            # A request that crosses the GOAWAY on the wire is still accepted, and waits here like the first.
            assert code in {None, grpc.StatusCode.DEADLINE_EXCEEDED}
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await gateway.infer(request_of(), timeout=0.2)
            code = caught.value.code()
        a.holding = False
        a.release()
        assert (await call).id == "last"
        await stop


def test_gateway_imports_no_onnx():
    """A gateway's image needs neither ONNX nor ONNX Runtime, and lives beside other clients' stubs."""
    program = (
        "import sys, tritonclient.grpc, onnxmesh.client, services.gateway.app, services.gateway.__main__;"
        "sys.exit(any(name.split('.')[0] in ('onnx', 'onnxruntime', 'onnx_ir') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=300)

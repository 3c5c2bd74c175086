"""Errors that a client of gRPC reads whole, whatever was sent and however many models there are."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from onnxmesh.error_text import MAX_TEXT_BYTES
from onnxmesh.oip import open_inference_pb2 as oip
from tests.integration.gateway.running_gateway import request_of, running_gateway

LONG = "begin" + "n\u00e4me" * 50_000 + "end"
NUM_MODELS = 60


def changed(**fields):
    request = request_of()
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def with_input(**fields):
    request = request_of()
    for name, value in fields.items():
        if name == "shape":
            request.inputs[0].shape[:] = value
        else:
            setattr(request.inputs[0], name, value)
    return request


def with_parameter(name, **value):
    request = request_of()
    parameter = request.parameters[name]
    for kind, each in value.items():
        setattr(parameter, kind, each)
    return request


def with_output(name):
    request = request_of()
    request.outputs.add(name=name)
    return request


HOSTILE = {
    "unknown model": (changed(model_name=LONG), grpc.StatusCode.NOT_FOUND, "deployed models are 'm'"),
    "near miss": (changed(model_name="model-with-a-name-017"), grpc.StatusCode.NOT_FOUND, "did you mean"),
    "version": (changed(model_version=LONG), grpc.StatusCode.INVALID_ARGUMENT, "a whole number as version"),
    "input": (with_input(name=LONG), grpc.StatusCode.INVALID_ARGUMENT, "takes 'x'"),
    "near input": (with_input(name="X"), grpc.StatusCode.INVALID_ARGUMENT, "did you mean 'x'?"),
    "datatype": (with_input(datatype=LONG), grpc.StatusCode.INVALID_ARGUMENT, "expected FP32"),
    "rank": (with_input(shape=[1] * 10_000), grpc.StatusCode.INVALID_ARGUMENT, "rank 10000 [1,1,"),
    "output": (with_output(LONG), grpc.StatusCode.INVALID_ARGUMENT, "gives 'y'"),
    "parameter": (
        with_parameter("mesh." + LONG, bool_param=True),
        grpc.StatusCode.INVALID_ARGUMENT,
        "reserved",
    ),
    "value": (
        with_parameter("mesh.trace", string_param=LONG),
        grpc.StatusCode.INVALID_ARGUMENT,
        "true or false",
    ),
    "selector": (
        with_parameter("mesh.require", string_param=f"a in ({LONG}"),
        grpc.StatusCode.INVALID_ARGUMENT,
        "",
    ),
    "session": (with_parameter("mesh.session", string_param=LONG), grpc.StatusCode.INVALID_ARGUMENT, "bytes"),
}


@pytest.mark.parametrize("edge", ["http2", "grpc"])
async def test_errors_keep_their_status_and_have_short_texts(edge):
    """A client loses the status of a call whose trailers are longer than it takes."""
    async with running_gateway("a", edge=edge) as gateway:
        names = [f"model-with-a-name-{number:04d}" for number in range(NUM_MODELS)]
        await gateway.publish(*(gateway.routed("a", name=name) for name in ["m", *names]))
        for what, (request, code, text) in HOSTILE.items():
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await gateway.infer(request)
            assert (what, caught.value.code()) == (what, code)
            assert len(caught.value.details().encode()) <= MAX_TEXT_BYTES
            assert text in caught.value.details()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.call("ModelMetadata", oip.ModelMetadataRequest(name="nothing"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details().endswith(" more")
        health = health_pb2_grpc.HealthStub(gateway.channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service=LONG), timeout=20)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        answer = await gateway.infer(request_of(np.ones((1, 4), np.float32)))
        assert answer.model_name == "m"

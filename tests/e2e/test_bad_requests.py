"""Invalid requests from real clients: each has its precise error, and the next valid request is answered."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from time import monotonic

import grpc
import numpy as np
import pytest
from tritonclient import grpc as triton

from onnxmesh.oip.open_inference_pb2 import InferTensorContents, ModelInferRequest, ModelInferResponse
from tests.data_planes import BOTH
from tests.e2e.mesh_process import running_mesh
from tests.zoo import ZOO

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
TIMEOUT_S = 200
"""Longer than any request takes, however busy the machine is."""
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module", params=BOTH, ids=str)
def mesh(tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("models")
    with running_mesh("--workers=2", plane=request.param) as running:
        running.deploy(ZOO["mlp"].build(folder), name="mlp", stages=2)
        running.deploy(ZOO["strings"].build(folder), name="strings", stages=2)
        yield running


@pytest.fixture(scope="module")
def call(mesh):
    with grpc.insecure_channel(mesh.address) as channel:
        yield channel.unary_unary(
            MODEL_INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString
        )


def good(name="mlp"):
    """Returns a valid request."""
    request = ModelInferRequest(model_name=name, id="good")
    for key, array in ZOO[name].inputs(1, 1).items():
        if array.dtype == np.object_ or array.dtype.kind == "U":
            elements = [e if isinstance(e, bytes) else str(e).encode() for e in array.ravel()]
            raw = b"".join(len(e).to_bytes(4, "little") + e for e in elements)
            datatype = "BYTES"
        else:
            raw, datatype = array.tobytes(), {"float32": "FP32", "int64": "INT64"}[str(array.dtype)]
        request.inputs.add(name=key, datatype=datatype, shape=array.shape)
        request.raw_input_contents.append(raw)
    return request


def changed(change, name="mlp"):
    request = good(name)
    change(request)
    return request


def field(name, value):
    return lambda request: setattr(request, name, value)


def first_input(name, value):
    return lambda request: setattr(request.inputs[0], name, value)


def shape(*dimensions):
    def change(request):
        del request.inputs[0].shape[:]
        request.inputs[0].shape.extend(dimensions)

    return change


def without_inputs(request):
    del request.inputs[:]
    del request.raw_input_contents[:]


def extra(request):
    request.inputs.add(name="surplus", datatype="FP32", shape=[1])
    request.raw_input_contents.append(bytes(4))


def duplicate(request):
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])


def truncated(request):
    request.raw_input_contents[0] = request.raw_input_contents[0][:-3]


def mixed(request):
    request.inputs[0].contents.CopyFrom(InferTensorContents(fp32_contents=[1.0]))


def typed_too_short(request):
    del request.raw_input_contents[:]
    request.inputs[0].contents.fp32_contents.append(1.0)


def typed_wrong_field(request):
    del request.raw_input_contents[:]
    request.inputs[0].contents.int64_contents.append(1)


def wrong_length(request):
    raw = bytearray(request.raw_input_contents[0])
    raw[0] = 255
    request.raw_input_contents[0] = bytes(raw)


CASES = {
    "unknown model": (field("model_name", "nothing"), NOT_FOUND, "nothing"),
    "unknown version": (field("model_version", "99"), NOT_FOUND, "99"),
    "version that is no number": (field("model_version", "newest"), INVALID, "newest"),
    "wrong datatype": (first_input("datatype", "INT32"), INVALID, "expected FP32"),
    "datatype that does not exist": (first_input("datatype", "FLOAT"), INVALID, "FLOAT"),
    "wrong rank": (shape(1, 1, 32), INVALID, "rank"),
    "wrong fixed dimension": (shape(1, 5), INVALID, "5"),
    "missing input": (without_inputs, INVALID, "missing"),
    "extra input": (extra, INVALID, "surplus"),
    "duplicate input": (duplicate, INVALID, "twice"),
    "too few bytes": (truncated, INVALID, "bytes"),
    "raw entry missing": (lambda request: request.raw_input_contents.pop(), INVALID, "raw_input_contents"),
    "negative dimension": (shape(-1, 32), INVALID, "-1"),
    "overflowing shape": (shape(2**62, 2**62), INVALID, "4611686018427387904"),
    "raw and typed mixed": (mixed, INVALID, "contents"),
    "typed contents too short": (typed_too_short, INVALID, "1"),
    "typed contents of another type": (typed_wrong_field, INVALID, "int64_contents"),
    "unknown output": (lambda request: request.outputs.add(name="nowhere"), INVALID, "nowhere"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_request_is_refused_by_name(call, case):
    """The status has the kind of error, the message the wrong value; the next request is answered."""
    change, code, text = CASES[case]
    with pytest.raises(grpc.RpcError) as caught:
        call(changed(change), timeout=TIMEOUT_S)
    assert caught.value.code() == code, caught.value.details()
    assert text in caught.value.details()
    assert call(good(), timeout=TIMEOUT_S).id == "good"


def test_bytes_element_longer_than_its_tensor_is_refused(call):
    """It is not sent to a worker."""
    with pytest.raises(grpc.RpcError) as caught:
        call(changed(wrong_length, "strings"), timeout=TIMEOUT_S)
    assert caught.value.code() == INVALID
    assert "BYTES element" in caught.value.details()
    assert call(good("strings"), timeout=TIMEOUT_S).id == "good"


def test_empty_batch_has_an_empty_result(call):
    """The model's batch dimension is dynamic, so that it may be 0."""

    def empty(request):
        request.inputs[0].shape[0] = 0
        request.raw_input_contents[0] = b""

    answer = call(changed(empty), timeout=TIMEOUT_S)
    assert answer.outputs[0].shape[0] == 0
    assert list(answer.raw_output_contents) == [b""]


def test_unknown_model_in_tritonclient(mesh):
    """tritonclient reports the same status and message."""
    with triton.InferenceServerClient(mesh.address) as client:
        tensor = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(np.zeros((1, 4), np.float32))
        with pytest.raises(triton.InferenceServerException) as caught:
            client.infer("nothing", [tensor])
    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert "nothing" in caught.value.message()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00" * 4096,
        bytes(range(256)) * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 999,
    ],
    ids=["http1", "zeros", "bytes", "broken http2"],
)
def test_garbage_on_the_port_ends_its_own_connection(mesh, call, garbage):
    """Other connections are served."""
    host, _, port = mesh.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.settimeout(TIMEOUT_S)
        # Refused at any point: while it is sent, before it is answered, or after.
        with contextlib.suppress(OSError):
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert call(good(), timeout=TIMEOUT_S).id == "good"


def test_body_that_is_no_protobuf_is_refused(mesh, call):
    """The status has no details of the implementation."""
    with grpc.insecure_channel(mesh.address) as channel:
        raw = channel.unary_unary(MODEL_INFER)
        with pytest.raises(grpc.RpcError) as caught:
            raw(b"\xff\xff\xff\xff", timeout=TIMEOUT_S)
        assert caught.value.code() in (INVALID, grpc.StatusCode.INTERNAL)
        assert "Traceback" not in caught.value.details()
    assert call(good(), timeout=TIMEOUT_S).id == "good"


CUT_IN_THE_MIDDLE = """
import sys, grpc
channel = grpc.insecure_channel(sys.argv[1], options=[("grpc.max_send_message_length", -1)])
future = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer").future(bytes(500_000_000))
print("sending", flush=True)
future.result()
"""


def test_client_killed_while_sending_does_not_affect_others(mesh, call):
    """A request of 500 MB is cut in the middle; other clients are answered."""
    with subprocess.Popen(
        [sys.executable, "-c", CUT_IN_THE_MIDDLE, mesh.address], stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout.readline() == "sending\n"
        client.kill()
    assert call(good(), timeout=TIMEOUT_S).id == "good"


def test_cancelled_requests_leave_nothing_in_flight(mesh, call):
    """1,000 requests are cancelled at once; afterwards nothing is queued, and requests are answered."""

    def cancel_all():
        with grpc.insecure_channel(mesh.address) as channel:
            infer = channel.unary_unary(
                MODEL_INFER, ModelInferRequest.SerializeToString, ModelInferResponse.FromString
            )
            for _ in range(100):
                infer.future(good(), timeout=TIMEOUT_S).cancel()

    threads = [threading.Thread(target=cancel_all) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(20):
        assert call(good(), timeout=TIMEOUT_S).id == "good"
    end = monotonic() + TIMEOUT_S
    while waiting := [worker.id for worker in mesh.status().workers if worker.load.queued]:
        assert monotonic() < end, waiting

"""Requests, parts and stage specifications for the tests of a worker."""

from __future__ import annotations

import math

from onnxmesh.deadline import Deadline
from onnxmesh.ids import Digest, StageKey
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.worker.requests.batch_rule import BatchRule
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec

STAGES = ("m/1/0", "m/1/1")


def tensor(name, data=b"1234"):
    return Tensor(name, Datatype.UINT8, (len(data),), data)


def request(
    number=1,
    *,
    stages=STAGES,
    hop=0,
    at_s=math.inf,
    tensors=None,
    outputs=(),
    worker="w",
    origin="gateway",
    attempt=0,
    direct=False,
    priority=0,
    arrived_s=0.0,
    split_of=0,
    credit=None,
):
    key = RequestKey(origin, number, attempt)
    header = frame_pb2.Activation(
        key=key.to_proto(),
        request_id=f"r{number}",
        hop=hop,
        route=frame_pb2.Route(hops=[frame_pb2.Hop(stage=stage, worker=worker) for stage in stages]),
        requested_outputs=outputs,
        traceparent="00-trace",
        direct=direct,
        priority=priority,
        split_of=split_of,
    )
    held = {"x": tensor("x")} if tensors is None else tensors
    return StageRequest(key, header, held, Deadline(at_s), arrived_s=arrived_s, wire_ns=5, credit=credit)


def last(number, **more):
    """Returns a request at its last stage."""
    return request(number, stages=("m/1/0",), **more)


def main_part(number, data=b"1234", **more):
    """Returns the main part of a request at its second stage."""
    return request(number, hop=1, tensors={"x": tensor("x", data)}, **more)


def direct_part(number, data=b"1234567", **more):
    """Returns the direct part of a request at its second stage."""
    return request(number, hop=1, tensors={"u": tensor("u", data)}, direct=True, **more)


def rule(max_rows=4, shared=(), inputs=(("x", Datatype.UINT8),), **more):
    return BatchRule(tuple(inputs), frozenset(shared), max_rows, **more)


def rows(number, *values, width=1, **more):
    """Returns a request with a row of `width` bytes for each value."""
    data = bytes(value for value in values for _ in range(width))
    tensors = {"x": Tensor("x", Datatype.UINT8, (len(values), width), data)}
    return request(number, stages=("m/1/0",), tensors=tensors, **more)


def spec(stage="m/1/0", outputs=("y",), live_out=("y",), direct=(), batching=None):
    return StageSpec(
        stage=StageKey(stage),
        digest=Digest("0" * 64),
        outputs=frozenset(outputs),
        live_out=live_out,
        weight_bytes=0,
        direct_inputs=frozenset(direct),
        batching=batching,
    )

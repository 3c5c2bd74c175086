"""Frames that follow from a request: the next Activation, the Result or the Failure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnxmesh.errors import MeshError
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frame_tensors import write_tensors
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest


def activation_frame(
    request: StageRequest,
    tensors: Sequence[Tensor],
    timing: frame_pb2.HopTiming,
    *,
    now_s: float,
    unix_ns: int,
    credit: int = 0,
) -> Frame:
    """Returns the Activation for the next hop.

    Args:
        request: As it arrived at this stage.
        tensors: What is alive after the stage.
        timing: Of this hop; appended to the earlier ones.
        now_s: This process's monotonic clock.
        unix_ns: This host's clock.
        credit: Bytes of credit taken for it.
    """
    header = _next_header(request, timing)
    payloads = write_tensors(header, tensors)
    header.sent_unix_ns = unix_ns
    header.credit = credit
    if not math.isinf(request.deadline.at_s):
        header.remaining_us = max(0, round((request.deadline.at_s - now_s) * 1e6))
    return Frame(frame_pb2.FrameHeader(activation=header), payloads)


def next_stage_request(
    request: StageRequest,
    tensors: Sequence[Tensor],
    timing: frame_pb2.HopTiming,
    *,
    now_s: float,
    credit: Credit | None = None,
) -> StageRequest:
    """Returns the request for the next stage where this worker holds that too: no frame, and no copy of the tensors."""
    return StageRequest(
        key=request.key,
        header=_next_header(request, timing),
        tensors={tensor.name: tensor for tensor in tensors},
        deadline=request.deadline,
        arrived_s=now_s,
        wire_ns=0,
        credit=credit,
    )


def _next_header(request: StageRequest, timing: frame_pb2.HopTiming) -> frame_pb2.Activation:
    """Returns the Activation for the next hop without its tensors."""
    header = request.header
    return frame_pb2.Activation(
        key=header.key,
        request_id=header.request_id,
        route=header.route,
        hop=header.hop + 1,
        requested_outputs=header.requested_outputs,
        timings=[*header.timings, timing],
        traceparent=header.traceparent,
        priority=header.priority,
        split_of=header.split_of,
    )


def result_frame(
    request: StageRequest, tensors: Sequence[Tensor], timing: frame_pb2.HopTiming, *, unix_ns: int
) -> Frame:
    """Returns the Result for the origin gateway."""
    header = frame_pb2.Result(
        key=request.header.key,
        timings=[*request.header.timings, timing],
        sent_unix_ns=unix_ns,
    )
    payloads = write_tensors(header, tensors)
    return Frame(frame_pb2.FrameHeader(result=header), payloads)


def failure_header(key: RequestKey, error: MeshError, worker: WorkerId) -> frame_pb2.FrameHeader:
    """Returns the Failure that ends an attempt at its origin gateway.

    Args:
        key: The attempt.
        error: Why it ended.
        worker: The worker at fault.
    """
    failure = frame_pb2.Failure(
        key=key.to_proto(),
        reason=error.reason,
        message=error.message,
        worker=worker,
        retriable=error.retriable,
        retry_after_ms=round((error.retry_after_s or 0.0) * 1000),
    )
    return frame_pb2.FrameHeader(failure=failure)

"""What a worker sends on for a request. Pure."""

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


def activation(
    request: StageRequest,
    tensors: Sequence[Tensor],
    timing: frame_pb2.HopTiming,
    *,
    now_s: float,
    unix_ns: int,
    credit: int = 0,
) -> Frame:
    """Returns the Activation for the next hop, which counts as so many bytes of credit."""
    header = _following(request, timing)
    payloads = write_tensors(header, tensors)
    header.sent_unix_ns = unix_ns
    header.credit = credit
    if not math.isinf(request.deadline.at_s):
        header.remaining_us = max(0, round((request.deadline.at_s - now_s) * 1e6))
    return Frame(frame_pb2.FrameHeader(activation=header), payloads)


def handed_over(
    request: StageRequest,
    tensors: Sequence[Tensor],
    timing: frame_pb2.HopTiming,
    *,
    now_s: float,
    credit: Credit | None = None,
) -> StageRequest:
    """Returns what the next stage gets on this very worker, in no frame: its tensors stay where they are."""
    return StageRequest(
        key=request.key,
        header=_following(request, timing),
        tensors={tensor.name: tensor for tensor in tensors},
        deadline=request.deadline,
        arrived_s=now_s,
        wire_ns=0,
        credit=credit,
    )


def _following(request: StageRequest, timing: frame_pb2.HopTiming) -> frame_pb2.Activation:
    """Returns what the next hop is told besides the tensors."""
    before = request.header
    return frame_pb2.Activation(
        key=before.key,
        request_id=before.request_id,
        route=before.route,
        hop=before.hop + 1,
        requested_outputs=before.requested_outputs,
        timings=[*before.timings, timing],
        traceparent=before.traceparent,
        priority=before.priority,
        split_of=before.split_of,
    )


def result(
    request: StageRequest, tensors: Sequence[Tensor], timing: frame_pb2.HopTiming, *, unix_ns: int
) -> Frame:
    """Returns the answer for the origin."""
    header = frame_pb2.Result(
        key=request.header.key,
        timings=[*request.header.timings, timing],
        sent_unix_ns=unix_ns,
    )
    payloads = write_tensors(header, tensors)
    return Frame(frame_pb2.FrameHeader(result=header), payloads)


def failure(key: RequestKey, error: MeshError, worker: WorkerId) -> frame_pb2.FrameHeader:
    """Returns what tells the origin that this attempt is over.

    Args:
        key: The attempt.
        error: Why.
        worker: The one at fault.
    """
    told = frame_pb2.Failure(
        key=key.to_proto(),
        reason=error.reason,
        message=error.message,
        worker=worker,
        retriable=error.retriable,
        retry_after_ms=round((error.retry_after_s or 0.0) * 1000),
    )
    return frame_pb2.FrameHeader(failure=told)

"""Mesh errors to gRPC statuses, and back.

Source: https://google.aip.dev/193 (ErrorInfo, RetryInfo).
"""

from __future__ import annotations

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from onnxmesh.errors import (
    DOMAIN,
    REASONS,
    Cancelled,
    CorruptData,
    DeadlineExceeded,
    Internal,
    InvalidRequest,
    MeshError,
    NotFound,
    TooLarge,
    Unavailable,
    Unsatisfiable,
    from_reason,
)

_BY_CODE: dict[grpc.StatusCode, type[MeshError]] = {
    error.code: error
    for error in (
        InvalidRequest,
        NotFound,
        Unsatisfiable,
        TooLarge,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        CorruptData,
    )
}


def to_status(error: MeshError) -> grpc.Status:
    """Returns the status of `error`: code, message, ErrorInfo and, with a retry delay, RetryInfo."""
    details = [Any(), Any()] if error.retry_after_s is not None else [Any()]
    details[0].Pack(ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details[1].Pack(RetryInfo(retry_delay=delay))
    code = Code.Value(error.code.name)
    status: grpc.Status = rpc_status.to_status(Status(code=code, message=error.message, details=details))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> MeshError:
    """Returns the mesh error behind a failed call; without ErrorInfo, the class follows from the status code."""
    message = error.details() or error.code().name
    status = rpc_status.from_call(error)
    reason, retry_after_s = "", None
    for detail in status.details if status is not None else ():
        info, retry = ErrorInfo(), RetryInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    if reason in REASONS:
        return from_reason(reason, message, retry_after_s)
    return _BY_CODE.get(error.code(), Internal)(message, retry_after_s=retry_after_s)

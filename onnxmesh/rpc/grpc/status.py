"""Mesh errors to gRPC statuses, and back.

Source: https://google.aip.dev/193 (ErrorInfo, RetryInfo).
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
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


MAX_RETRY_AFTER_S = 86_400.0
"""The longest retry delay that is sent: no client waits longer."""

_DETAILS_KEY = "grpc-status-details-bin"


def to_status(error: MeshError) -> grpc.Status:
    """Returns the status of `error`: code, message, ErrorInfo and, with a retry delay, RetryInfo."""
    details = [Any(), Any()] if error.retry_after_s is not None else [Any()]
    details[0].Pack(ErrorInfo(reason=error.reason, domain=DOMAIN))
    if error.retry_after_s is not None:
        delay = Duration()
        # The order of the operands gives 0 for a delay that is no number.
        delay.FromMilliseconds(round(min(MAX_RETRY_AFTER_S, max(0.0, error.retry_after_s)) * 1000))
        details[1].Pack(RetryInfo(retry_delay=delay))
    code = Code.Value(error.code.name)
    status: grpc.Status = rpc_status.to_status(Status(code=code, message=error.message, details=details))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> MeshError:
    """Returns the mesh error behind a failed call; without ErrorInfo, the class follows from the status code.

    It raises nothing, whatever a peer or a proxy between has sent: details that cannot be read, or that are of another status
    than the call's, are ignored.
    """
    code: grpc.StatusCode | None = error.code()
    message = error.details() or (code.name if code is not None else "the call failed without a status")
    reason, retry_after_s = "", None
    for detail in _details(error, code):
        info, retry = ErrorInfo(), RetryInfo()
        try:
            if detail.Unpack(info) and info.domain == DOMAIN:
                reason = info.reason
            elif detail.Unpack(retry):
                retry_after_s = max(0.0, retry.retry_delay.ToMilliseconds() / 1000)
        except DecodeError:
            continue
    if reason in REASONS:
        return from_reason(reason, message, retry_after_s)
    kind = Internal if code is None else _BY_CODE.get(code, Internal)
    return kind(message, retry_after_s=retry_after_s)


def _details(error: grpc.aio.AioRpcError, code: grpc.StatusCode | None) -> Sequence[Any]:
    """Returns the details of a failed call's status; none where the trailers have no status of the same code."""
    for key, value in error.trailing_metadata() or ():
        status = Status()
        try:
            if key == _DETAILS_KEY:
                status.ParseFromString(value)
        except (DecodeError, TypeError):
            continue  # cut short, or text
        if code is not None and status.code == code.value[0]:
            return tuple(status.details)
    return ()

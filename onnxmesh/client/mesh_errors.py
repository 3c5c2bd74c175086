"""Errors of calls to a mesh, as the exceptions that the service raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from onnxmesh.errors import DeadlineExceeded, Internal, Unavailable
from onnxmesh.rpc.grpc.connection_reasons import NO_GRPC, connection_reason
from onnxmesh.rpc.grpc.status import from_rpc_error


@contextmanager
def mesh_errors(address: str) -> Iterator[None]:
    """Converts a gRPC error to the exception that the service raised.

    Args:
        address: The address that was called.

    Raises:
        MeshError: The service's exception, of the same class.
        Unavailable: Nothing that speaks gRPC answers at the address (UNAVAILABLE); the message has the reason.
        DeadlineExceeded: Nothing answered within the time-out of the call (DEADLINE_EXCEEDED).
        Internal: What answers lacks the call (INTERNAL).
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if not _has_service_details(error):
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise Unavailable(f"no mesh answers at {address}{_reason(error)}") from error
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise DeadlineExceeded(f"{address} did not answer in time") from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                raise _not_a_gateway(address, error) from error
        raise from_rpc_error(error) from error


def _not_a_gateway(address: str, error: grpc.aio.AioRpcError) -> Unavailable | Internal:
    if "http2 header" in (error.details() or ""):
        return Unavailable(f"no mesh answers at {address}: {NO_GRPC}")
    return Internal(f"what answers at {address} is not a gateway of a mesh, or one of another version")


def _reason(error: grpc.aio.AioRpcError) -> str:
    reason = connection_reason(error.details() or "")
    return f": {reason}" if reason else ""


def _has_service_details(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service wrote the status; gRPC's own statuses carry no details."""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())

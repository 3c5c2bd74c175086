"""Errors of calls to a mesh, as the exceptions that the service raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.grpc.status import from_rpc_error


@contextmanager
def mesh_errors(address: str) -> Iterator[None]:
    """Converts a gRPC error to the exception that the service raised.

    Args:
        address: The address that was called.

    Raises:
        MeshError: The service's exception, of the same class.
        Unavailable: Nothing answers at the address (UNAVAILABLE).
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and not _has_service_details(error):
            raise Unavailable(f"no mesh answers at {address}") from error
        raise from_rpc_error(error) from error


def _has_service_details(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service wrote the status; gRPC's own statuses carry no details."""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())

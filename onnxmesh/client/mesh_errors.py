"""What a call of a mesh raises that failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.grpc.status import from_rpc_error


@contextmanager
def mesh_errors(address: str) -> Iterator[None]:
    """Raises what the mesh raised, instead of what gRPC makes of it.

    Args:
        address: Where it was called.

    Raises:
        MeshError: Of the class that the mesh raised.
        Unavailable: Nothing answers there (UNAVAILABLE).
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE and not _said_by_mesh(error):
            raise Unavailable(f"no mesh answers at {address}") from error
        raise from_rpc_error(error) from error


def _said_by_mesh(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service wrote the status; gRPC's own have no details attached."""
    return any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata())

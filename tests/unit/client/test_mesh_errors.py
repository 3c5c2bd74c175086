"""gRPC errors as the exceptions that services raised."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

from onnxmesh.client.mesh_errors import mesh_errors
from onnxmesh.errors import Unavailable

DETAILS = status_pb2.Status(code=14, message="no route").SerializeToString()


def rpc_error(code, *trailing, text="no route"):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), text)


def test_mesh_errors_tell_an_unreachable_address_from_an_unavailable_model():
    """gRPC's own UNAVAILABLE has no details; that of a service keeps its message."""
    with pytest.raises(Unavailable, match="no mesh answers at h:1"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable, match="no route"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE, ("grpc-status-details-bin", DETAILS))


def test_mesh_errors_leave_other_exceptions_alone():
    """They are errors of the caller."""
    with pytest.raises(KeyError), mesh_errors("h:1"):
        raise KeyError("x")

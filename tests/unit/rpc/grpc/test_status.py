"""Mesh errors as gRPC statuses, and back."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from onnxmesh.errors import Internal, NotFound, Overloaded, TooLarge, Unavailable
from onnxmesh.rpc.grpc.status import from_rpc_error, to_status


def received(status, *, details=None):
    """The error of a call that ended with a status."""
    trailing = (
        grpc.aio.Metadata(*status.trailing_metadata) if status.trailing_metadata else grpc.aio.Metadata()
    )
    return grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, details or status.details)


@pytest.mark.parametrize("error", [NotFound("no model m"), Overloaded("full", retry_after_s=1.5)])
def test_from_rpc_error_rebuilds_what_to_status_wrote(error):
    """Class, message and retry delay."""
    rebuilt = from_rpc_error(received(to_status(error)))
    assert type(rebuilt) is type(error)
    assert (rebuilt.message, rebuilt.retry_after_s) == (error.message, error.retry_after_s)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, TooLarge),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.ABORTED, Internal),
    ],
)
def test_from_rpc_error_uses_the_code_of_a_status_without_details(code, kind):
    """The nearest class; the message of gRPC itself, or the name of the code."""
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")
    assert type(from_rpc_error(error)) is kind
    assert from_rpc_error(error).message == "why"
    silent = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())
    assert from_rpc_error(silent).message == code.name

"""gRPC errors as the exceptions that services raised."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2

from onnxmesh.client.mesh_client import MeshClient
from onnxmesh.client.mesh_errors import mesh_errors
from onnxmesh.errors import DeadlineExceeded, Internal, Unavailable

DETAILS = status_pb2.Status(code=14, message="no route").SerializeToString()


def rpc_error(code, *trailing, text="no route"):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), text)


def test_mesh_errors_distinguish_an_unreachable_address_from_an_unavailable_model():
    """gRPC's own UNAVAILABLE has no details; that of a service keeps its message."""
    with pytest.raises(Unavailable, match="no mesh answers at h:1"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(Unavailable, match="no route"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE, ("grpc-status-details-bin", DETAILS))


def refused(address):
    """Returns the message of the client for an address."""

    async def call():
        async with MeshClient(address) as client:
            await client.status(timeout=10.0)

    with pytest.raises((Unavailable, Internal)) as caught:
        asyncio.run(call())
    return caught.value.message


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there does not speak gRPC"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "what listens there does not speak gRPC"),
        (b"", "what listens there closes the connection; it may expect another protocol, such as TLS"),
    ],
)
def test_mesh_errors_have_the_reason_of_a_failed_connection(greeting, reason):
    """The error for a port with another protocol differs from that for a closed port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting)
                    if greeting:
                        connection.recv(1 << 16)
                    else:
                        # Data that was not read makes the end a reset.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        threading.Thread(target=answer, daemon=True).start()
        assert refused(address) == f"no mesh answers at {address}: {reason}"
        server.shutdown(socket.SHUT_RDWR)
    assert refused(address) == f"no mesh answers at {address}: nothing listens there"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "errors resolving h:1: address lookup failed for h:1: Domain name not found",
            ": there is no host of that name",
        ),
        ("another text", ""),
    ],
)
def test_mesh_errors_put_grpcs_texts_into_words(text, reason):
    """A text that is not known is omitted."""
    with pytest.raises(Unavailable) as caught, mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE, text=text)
    assert caught.value.message == f"no mesh answers at h:1{reason}"


def test_mesh_errors_name_a_service_that_is_no_gateway():
    """Its server knows no such call; a proxy answers with an HTTP status."""
    with pytest.raises(Internal, match="what answers at h:1 is not a gateway"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNIMPLEMENTED, text="Method not found!")
    with pytest.raises(Unavailable, match="does not speak gRPC"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.UNIMPLEMENTED, text="Received http2 header with status: 404")


def test_mesh_errors_name_the_address_that_did_not_answer_in_time():
    """gRPC's own DEADLINE_EXCEEDED has no details; that of a service keeps its message."""
    with pytest.raises(DeadlineExceeded, match="h:1 did not answer in time"), mesh_errors("h:1"):
        raise rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, text="Deadline Exceeded")


def test_mesh_errors_leave_other_exceptions_alone():
    """They are errors of the caller."""
    with pytest.raises(KeyError), mesh_errors("h:1"):
        raise KeyError("x")

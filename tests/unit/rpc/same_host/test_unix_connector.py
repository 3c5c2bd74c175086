"""Connecting to Unix sockets that cannot be reached."""

from __future__ import annotations

import pytest

from onnxmesh.rpc.same_host.boot_id import boot_id
from onnxmesh.rpc.same_host.payload_memory import PayloadMemory
from onnxmesh.rpc.same_host.unix_connector import UnixConnector
from onnxmesh.v1.frame_pb2 import Hello, UnixSocket


class NoMemory(PayloadMemory):
    """A process without descriptors."""

    def allocate(self):
        raise OSError("no descriptors")


@pytest.mark.parametrize(
    ("memory", "address", "logged"),
    [
        (PayloadMemory(), UnixSocket(), ""),
        (PayloadMemory(), UnixSocket(name=b"onnxmesh/x", boot_id="another host"), ""),
        (PayloadMemory(), UnixSocket(name=b"onnxmesh/unused", boot_id=boot_id()), "unix_connect_failed"),
        (NoMemory(), UnixSocket(name=b"onnxmesh/unused", boot_id=boot_id()), "no descriptors"),
    ],
)
async def test_unix_connector_returns_none_where_grpc_has_to_do(memory, address, logged, capsys):
    """Without an address, on another host, without a listener, without memory; failures are logged."""
    assert await UnixConnector(Hello(node="a"), memory).connect(address) is None
    output = capsys.readouterr().out
    assert logged in output
    assert bool(output) == bool(logged)

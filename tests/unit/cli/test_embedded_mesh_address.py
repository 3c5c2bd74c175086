"""Addresses that a gateway may listen on."""

from __future__ import annotations

import socket

import pytest

from onnxmesh.cli.local_mesh.embedded_mesh import dialled, require_free
from onnxmesh.errors import InvalidRequest, Unavailable


def test_an_address_in_use_is_named():
    """Where another server listens, nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"cannot listen on {address}: Address already in use"):
            require_free(address)
    require_free(address)


@pytest.mark.parametrize(
    "address", ["", "8001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", ":1"]
)
def test_what_is_no_address_is_bad_input(address):
    """HOST:PORT is asked for by name."""
    with pytest.raises(InvalidRequest, match="expected HOST:PORT"):
        require_free(address)


def test_a_gateway_on_every_interface_is_reached_on_loopback():
    """What listens everywhere is dialled here."""
    assert dialled("0.0.0.0:8001") == "127.0.0.1:8001"
    assert dialled("[::]:8001") == "[::1]:8001"
    assert dialled("10.0.0.7:8001") == "10.0.0.7:8001"

"""The processes of an embedded mesh and their addresses."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from onnxmesh.cli.local_mesh.embedded_mesh import MeshShape, reachable_address, require_free_address
from onnxmesh.errors import InvalidRequest, Unavailable


def test_mesh_shape_assigns_zones_in_turn():
    """The gateway is in the first zone; without zones the option is omitted."""
    shape = MeshShape(3, 1, "127.0.0.1:0", ("near", "far"))
    assert [shape.zone(number)[-1] for number in range(3)] == ["near", "far", "near"]
    assert MeshShape(3, 1, "127.0.0.1:0").zone(0) == []


def test_mesh_shape_has_the_address_of_the_metrics_of_each_process():
    """Those of the gateway's processes follow that of its first one, which it is started with."""
    shape = MeshShape(2, 1, "127.0.0.1:0", gateway_processes=2)
    assert shape.processes == ["scheduler", "gateway-0", "gateway-1", "worker-0", "worker-1"]
    assert MeshShape(1, 1, "127.0.0.1:0").processes == ["scheduler", "gateway", "worker-0"]
    assert shape.metrics_of("scheduler") == []
    metrics = {name: f"127.0.0.1:{number}" for number, name in enumerate(shape.processes, start=7)}
    served = replace(shape, metrics=metrics)
    assert served.metrics_of("gateway") == ["--metrics", "127.0.0.1:8"]
    assert served.metrics_of("worker-1") == ["--metrics", "127.0.0.1:11"]


def test_require_free_address_names_an_address_in_use():
    """Where another server listens, nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"cannot listen on {address}: Address already in use"):
            require_free_address(address)
        with socket.create_connection(server.getsockname()):
            pass


@pytest.mark.parametrize(
    "address", ["", "8001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", ":1"]
)
def test_require_free_address_refuses_what_is_not_host_port(address):
    """The message names the expected form."""
    with pytest.raises(InvalidRequest, match="expected HOST:PORT"):
        require_free_address(address)


def test_require_free_address_accepts_a_free_port():
    """Port 0 is always free."""
    require_free_address("127.0.0.1:0")


def test_reachable_address_of_every_interface_is_loopback():
    """A server on every interface is reached at the loopback address."""
    assert reachable_address("0.0.0.0:8001") == "127.0.0.1:8001"
    assert reachable_address("[::]:8001") == "[::1]:8001"
    assert reachable_address("10.0.0.7:8001") == "10.0.0.7:8001"

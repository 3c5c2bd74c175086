"""Ports of metrics."""

from __future__ import annotations

import socket

import pytest

from onnxmesh.cli.local_mesh.metrics_ports import metrics_addresses
from onnxmesh.errors import Unavailable


def port_of(address):
    return int(address.rpartition(":")[2])


def test_metrics_ports_are_consecutive():
    """In the order of their names."""
    addresses = metrics_addresses(["scheduler", "gateway", "worker-0"])
    assert list(addresses) == ["scheduler", "gateway", "worker-0"]
    first, *rest = map(port_of, addresses.values())
    assert rest == [first + 1, first + 2]


def test_metrics_ports_skip_a_block_with_a_port_in_use():
    """Where another process listens, the block begins after its port."""
    first = port_of(metrics_addresses(["one", "two", "three"], 20_000)["one"])
    with socket.create_server(("127.0.0.1", first + 1)):
        assert port_of(metrics_addresses(["one", "two"], first)["one"]) > first + 1


def test_metrics_ports_raise_without_a_free_block():
    """The range ends below the ports of connections."""
    with pytest.raises(Unavailable, match="no 5 consecutive ports from 31999 to 32000 are free"):
        metrics_addresses(list("abcde"), 31_999)

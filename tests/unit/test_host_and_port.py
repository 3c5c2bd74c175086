"""HOST:PORT addresses are validated and not changed."""

from __future__ import annotations

import pytest

from onnxmesh.host_and_port import host_and_port


@pytest.mark.parametrize(
    "address", ["host:1", "127.0.0.1:0", "[::1]:65535", "[fe80::1%eth0]:80", "a.b-c_d:80"]
)
def test_host_and_port_returns_an_address_unchanged(address):
    assert host_and_port(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "host",
        "host:",
        ":80",
        "host:65536",
        "host:-1",
        "host:http",
        "80",
        "a:1;b:2",
        "a:1,b:2",
        "::1:80",
        "a b:1",
        "http://a:1",
    ],
)
def test_host_and_port_refuses_other_text(address):
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        host_and_port(address)

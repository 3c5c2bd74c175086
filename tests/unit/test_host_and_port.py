"""HOST:PORT addresses are validated and not changed."""

from __future__ import annotations

import pytest

from onnxmesh.host_and_port import host_and_port


@pytest.mark.parametrize("address", ["host:1", "127.0.0.1:0", "[::1]:65535", "a.b-c:80"])
def test_host_and_port_returns_an_address_unchanged(address):
    assert host_and_port(address) == address


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:65536", "host:-1", "host:http", "80"])
def test_host_and_port_refuses_other_text(address):
    with pytest.raises(ValueError, match="expected HOST:PORT"):
        host_and_port(address)

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


@pytest.mark.parametrize(
    ("address", "cure"),
    [
        (
            "https://mesh.example:443",
            ": a URL is not expected, and connections are not encrypted; try mesh.example:443",
        ),
        ("http://mesh.example:8001/v2/models", ": a URL is not expected; try mesh.example:8001"),
        ("grpc://mesh.example", ": a URL is not expected; try mesh.example:8001"),
        ("http://[::1]:8001", ": a URL is not expected; try [::1]:8001"),
        ("http://", ": a URL is not expected"),
        ("mesh.example", ": the port is missing, as in mesh.example:8001"),
        ("::1:8001", ": an IPv6 address is in brackets, as in [::1]:8001"),
        ("[::1]", ": an IPv6 address is in brackets, as in [::1]:8001"),
        ("host:65536", ": a port is at most 65535"),
        ("8001", ""),
        ("host:http", ""),
        ("", ""),
    ],
)
def test_host_and_port_has_a_cure_for_common_mistakes(address, cure):
    with pytest.raises(ValueError, match="expected") as caught:
        host_and_port(address)
    assert str(caught.value) == f"expected HOST:PORT, got '{address}'{cure}"

"""Addresses of Consul agents."""

from __future__ import annotations

import pytest

from onnxmesh.consul.access import split_address
from onnxmesh.errors import InvalidRequest


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.0.0.1", ("http", "10.0.0.1", 8500)),
        ("consul:18500", ("http", "consul", 18500)),
        ("https://consul.example:8501/", ("https", "consul.example", 8501)),
        ("[::1]:8500", ("http", "[::1]", 8500)),
    ],
)
def test_split_address(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "http://", "ftp://a", "a:b", "a:0", "http://a/path", "me@a"])
def test_split_address_refuses_other_text(address):
    with pytest.raises(InvalidRequest, match="expected a Consul agent"):
        split_address(address)

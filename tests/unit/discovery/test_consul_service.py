"""An instance survives Consul's limits on a service's meta."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.consul.access import split_address
from onnxmesh.consul.blocking_index import BlockingIndex
from onnxmesh.discovery.consul_service import from_service, to_meta
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import InvalidRequest

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def as_listed(instance):
    host, _, port = instance.address.rpartition(":")
    return {
        "ID": "x",
        "Address": host,
        "Port": int(port),
        "Tags": list(instance.tags),
        "Meta": to_meta(instance),
    }


@given(st.dictionaries(text, text, max_size=60), st.lists(text, max_size=3), st.integers(0, 2**63))
def test_whatever_is_said_comes_back_within_the_limits(attributes, tags, generation):
    """Any attributes come back as they were, and keys, values and their number are what Consul takes."""
    instance = Instance("a.b:c", "gateway", "[::1]:80", generation, tuple(tags), attributes)
    meta = to_meta(instance)
    assert len(meta) <= 64
    for key, value in meta.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key)
        assert not key.startswith("consul-")
        assert len(value.encode()) <= 512
    assert from_service(as_listed(instance), "gateway") == instance


def test_simple_attributes_are_readable_in_consul():
    meta = to_meta(Instance("a", "worker", "h:1", 7, (), {"zone": "eu", "cpu.class": "v4"}))
    assert meta == {"mesh-id": "a", "mesh-generation": "7", "attr-zone": "eu", "attr-cpu_2Eclass": "v4"}


def test_what_can_never_fit_is_refused_and_says_so():
    with pytest.raises(
        InvalidRequest, match=r"worker 'a' has more attributes than Consul accepts.*at most 64"
    ):
        to_meta(Instance("a", "worker", "h:1", 1, (), {"big": "x" * 40_000}))


@pytest.mark.parametrize("meta", [None, {}, {"mesh-id": "a"}, {"mesh-id": "a", "mesh-generation": "soon"}])
def test_a_service_of_somebody_else_is_refused(meta):
    with pytest.raises(InvalidRequest, match="not of a mesh"):
        from_service({"ID": "db", "Address": "h", "Port": 1, "Meta": meta}, "worker")


def test_the_index_of_a_blocking_query_follows_consuls_rules():
    """It grows, starts again where Consul's went backwards or a query failed, and always blocks otherwise."""
    index = BlockingIndex()
    assert index.value == 0
    index.advance(0)
    assert index.value == 1
    index.advance(9)
    index.advance(9)
    assert index.value == 9
    index.advance(8)
    assert index.value == 0
    index.advance(8)
    assert index.value == 8
    index.reset()
    assert index.value == 0


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.0.0.1", ("http", "10.0.0.1", 8500)),
        ("consul:18500", ("http", "consul", 18500)),
        ("https://consul.example:8501/", ("https", "consul.example", 8501)),
        ("[::1]:8500", ("http", "[::1]", 8500)),
    ],
)
def test_addresses_of_agents(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "http://", "ftp://a", "a:b", "a:0", "http://a/path", "me@a"])
def test_what_is_no_address_of_an_agent(address):
    with pytest.raises(InvalidRequest, match="expected a Consul agent"):
        split_address(address)

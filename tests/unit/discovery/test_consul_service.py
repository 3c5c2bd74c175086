"""A registry entry survives Consul's limits on a service's meta."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
def test_to_meta_and_from_service_are_inverse_within_the_limits(attributes, tags, generation):
    """Any attributes come back as they were, and keys, values and their number are what Consul takes."""
    instance = Instance("a.b:c", "gateway", "[::1]:80", generation, tuple(tags), attributes)
    meta = to_meta(instance)
    assert len(meta) <= 64
    for key, value in meta.items():
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", key)
        assert not key.startswith("consul-")
        assert len(value.encode()) <= 512
    assert from_service(as_listed(instance), "gateway") == instance


def test_to_meta_keeps_simple_attributes_readable():
    meta = to_meta(Instance("a", "worker", "h:1", 7, (), {"zone": "eu", "cpu.class": "v4"}))
    assert meta == {"mesh-id": "a", "mesh-generation": "7", "attr-zone": "eu", "attr-cpu_2Eclass": "v4"}


def test_to_meta_refuses_attributes_that_never_fit():
    with pytest.raises(
        InvalidRequest, match=r"worker 'a' has more attributes than Consul accepts.*at most 64"
    ):
        to_meta(Instance("a", "worker", "h:1", 1, (), {"big": "x" * 40_000}))


@pytest.mark.parametrize("meta", [None, {}, {"mesh-id": "a"}, {"mesh-id": "a", "mesh-generation": "soon"}])
def test_from_service_refuses_a_service_of_no_mesh(meta):
    with pytest.raises(InvalidRequest, match="not of a mesh"):
        from_service({"ID": "db", "Address": "h", "Port": 1, "Meta": meta}, "worker")

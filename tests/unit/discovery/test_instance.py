"""Registry entries are converted to messages and back."""

from __future__ import annotations

import pytest

from onnxmesh.discovery.instance import ROLES, Instance
from onnxmesh.errors import InvalidRequest
from onnxmesh.v1 import registry_pb2


@pytest.mark.parametrize("role", ROLES)
def test_instance_from_proto_reads_what_to_proto_wrote(role):
    instance = Instance("a.b:c-1", role, "[::1]:80", 7, ("gpu", "zone=eu"), {"cores": "2"})
    assert Instance.from_proto(instance.to_proto()) == instance


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "-a"),
        ("id", "a" * 129),
        ("id", "a b"),
        ("id", "../a"),
        ("address", "host"),
        ("address", "ho st:1"),
        ("address", "host:123456"),
        ("role", "client"),
    ],
)
def test_instance_from_proto_refuses_malformed_fields(field, value):
    message = registry_pb2.Instance(id="a", role="worker", address="host:1")
    setattr(message, field, value)
    with pytest.raises(InvalidRequest):
        Instance.from_proto(message)

"""Routing constraints as parameters of a request."""

from __future__ import annotations

import pytest

from onnxmesh.client import RouteOptions
from onnxmesh.client.infer_messages import infer_request
from onnxmesh.errors import InvalidRequest


def test_route_options_become_parameters_of_the_request():
    """All requirements as one selector, preferences with their weights; what is not wished is not there."""
    options = RouteOptions(("gpu", "zone in (eu, us)"), ("zone=eu:50", "fast"), "anna")
    request = infer_request("m", {}, options=options)
    assert {name: each.string_param for name, each in request.parameters.items()} == {
        "mesh.require": "gpu, zone in (eu, us)",
        "mesh.prefer": "zone=eu:50; fast:1",
        "mesh.session": "anna",
    }
    assert not infer_request("m", {}).parameters
    with pytest.raises(InvalidRequest, match="expected a weight from 1 to 100, got 101"):
        infer_request("m", {}, options=RouteOptions(prefer=("gpu:101",)))

"""Routes of one model."""

from __future__ import annotations

import pytest

from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from services.scheduler.route_table.model_routes import model_routes

ROUTED = {"m/1/0": ("a",), "m/1/1": ("b",)}


def deployment():
    partitions = [Partition(index=index) for index in range(2)]
    return Deployment(DeploymentSpec(name="m", version=1), Plan(partitions=partitions), Artefact())


def test_model_routes_are_complete_when_every_stage_has_a_replica():
    routes = model_routes(deployment(), ROUTED, None, None)
    assert (routes.stages, routes.replicas) == (("m/1/0", "m/1/1"), (("a",), ("b",)))
    assert routes.is_complete
    assert not model_routes(deployment(), {"m/1/0": ("a",)}, None, None).is_complete


def test_model_routes_are_reused_where_nothing_changed():
    known = deployment()
    first = model_routes(known, ROUTED, None, 10)
    assert model_routes(known, dict(ROUTED), first, 10) is first


@pytest.mark.parametrize(
    ("same", "routed", "percent"), [(False, ROUTED, 10), (True, {}, 10), (True, ROUTED, 20)]
)
def test_model_routes_are_new_where_deployment_replicas_or_percentage_changed(same, routed, percent):
    known = deployment()
    first = model_routes(known, ROUTED, None, 10)
    assert model_routes(known if same else deployment(), routed, first, percent) is not first

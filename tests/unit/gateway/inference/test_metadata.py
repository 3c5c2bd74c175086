"""Metadata of models."""

from __future__ import annotations

from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.inference.metadata import model_metadata
from tests.fakes.routed_models import routed_model


def test_model_metadata_lists_versions_in_order_and_tensors_of_the_model():
    """Versions by number, not by text."""
    models = [routed_model([[], []], version=version) for version in (10, 9)]
    table = RoutingTable.from_proto(RouteTable(models=models))
    metadata = model_metadata(table.find("m", "9"), table.versions("m"))
    assert (metadata.name, list(metadata.versions), metadata.platform) == (
        "m",
        ["9", "10"],
        "onnxruntime_onnx",
    )
    assert [(each.name, each.datatype, list(each.shape)) for each in metadata.inputs] == [
        ("x", "FP32", [-1, 4])
    ]
    assert [each.name for each in metadata.outputs] == ["y"]
    assert dict(metadata.properties) == {"version": "9", "stages": "2"}

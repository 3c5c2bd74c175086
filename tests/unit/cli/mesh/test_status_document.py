"""The JSON of `onnxmesh status`."""

from __future__ import annotations

from onnxmesh.cli.mesh.status_document import gateway_document, model_document, status_document
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.mesh_pb2 import ModelStatus, ReplicaStatus, StatusResponse, WorkerStatus
from onnxmesh.v1.model_pb2 import Partition, Plan


def test_status_document_lists_the_replicas_of_each_stage():
    """Each stage has its own; a stage without batching runs single rows."""
    replicas = [ReplicaStatus(stage=1, worker="b", state="LOADING"), ReplicaStatus(stage=0, worker="a")]
    model = ModelStatus(plan=Plan(partitions=[Partition(index=0), Partition(index=1)]), replicas=replicas)
    first, second = model_document(model)["stages"]
    assert [each["worker"] for each in first["replicas"]] == ["a"]
    assert second["replicas"] == [{"worker": "b", "state": "LOADING", "reason": ""}]
    assert first["batching"]["max_rows"] == 1


def test_status_document_separates_reported_and_observed_load():
    """The load that a worker reports, and the one that gateways observe, if any."""
    worker = WorkerStatus(id="w", load=Load(queued=3), observed_load=Load(queued=5))
    (document,) = status_document(StatusResponse(workers=[worker]))["workers"]
    assert (document["load"]["queued"], document["heard_load"]["queued"]) == (3, 5)
    assert gateway_document(None) is None

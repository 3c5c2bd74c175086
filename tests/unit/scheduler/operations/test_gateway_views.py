"""The status of workers has what gateways observed."""

from __future__ import annotations

from onnxmesh.live.base import Topic
from onnxmesh.live.ejection_topic import EjectionCodec, SharedEjection
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.load_topic import LoadCodec, WorkerLoad
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.mesh_pb2 import Ejection, WorkerStatus
from services.scheduler.operations.gateway_views import GatewayViews


def test_gateway_views_add_ejections_and_observed_loads_to_workers():
    """Each with who ejected it and for how long still; another worker has none of it."""
    live = EmbeddedLiveState("g1", clock=lambda: 7.0)
    SharedTopic(live, EjectionCodec()).publish(SharedEjection("a", "m/1/0", 2.5), 2.5)
    live.publish(Topic.EJECTION, "nonsense", {}, 2.5)
    SharedTopic(live, LoadCodec()).publish(WorkerLoad("a", Load(queued=4, expected_wait_us=9)), 3.0)
    workers = [WorkerStatus(id="a"), WorkerStatus(id="b")]
    GatewayViews(live).add_to(workers)
    assert list(workers[0].ejections) == [Ejection(stage="m/1/0", gateway="g1", remaining_ms=2500)]
    assert workers[0].observed_load == Load(queued=4, expected_wait_us=9)
    assert workers[1] == WorkerStatus(id="b")

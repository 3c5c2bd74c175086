"""Prometheus metrics of a worker."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.frame_pb2 import Load, StageLoad
from services.worker.metrics import WorkerMetrics
from services.worker.stages.stage_table import StageTable

LOAD = Load(
    completed=5, dropped=1, failed=2, resident_bytes=9, stages=[StageLoad(stage="m/1/0", queued=3, running=1)]
)


def test_worker_metrics_are_those_of_the_load():
    """By stage and by outcome."""
    registry = CollectorRegistry()
    WorkerMetrics(registry, StageTable(), lambda: LOAD)
    value = registry.get_sample_value
    assert value("onnxmesh_worker_requests_queued", {"stage": "m/1/0"}) == 3
    assert value("onnxmesh_worker_requests_running", {"stage": "m/1/0"}) == 1
    outcomes = [
        value("onnxmesh_worker_requests_total", {"outcome": each})
        for each in ("completed", "dropped", "failed")
    ]
    assert outcomes == [5, 1, 2]
    assert value("onnxmesh_worker_resident_bytes") == 9
    assert value("onnxmesh_worker_stages") == 1


def test_worker_metrics_remove_the_series_of_removed_stages():
    """When the next stage is added."""
    registry, stages = CollectorRegistry(), StageTable()
    metrics = WorkerMetrics(registry, stages, lambda: LOAD)

    def count(stage):
        return registry.get_sample_value("onnxmesh_worker_compute_seconds_count", {"stage": stage})

    for stage in (StageKey("m/1/0"), StageKey("n/1/0")):
        stages.add_loading(stage, Digest("d"))
        metrics.run_observer(stage)(0.01)
    assert (count("m/1/0"), count("n/1/0")) == (1, 1)
    stages.remove(StageKey("m/1/0"))
    stages.add_loading(StageKey("o/1/0"), Digest("d"))
    metrics.run_observer(StageKey("o/1/0"))
    assert (count("m/1/0"), count("n/1/0"), count("o/1/0")) == (None, 1, 0)

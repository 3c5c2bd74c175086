"""Prometheus metrics of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.ids import StageKey
from onnxmesh.v1.frame_pb2 import Load
from services.worker.stages.stage_table import StageTable

BUCKETS_S = (
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
)
"""Upper bounds of the buckets of compute seconds."""


class WorkerMetrics(Collector):
    """Metrics of the load, collected on scrape, and a histogram of compute times by stage.

    Args:
        registry: Where the metrics are registered.
        stages: The stages held.
        load: Returns this worker's load; called in another thread.
    """

    def __init__(self, registry: CollectorRegistry, stages: StageTable, load: Callable[[], Load]) -> None:
        self._stages = stages
        self._load = load
        self._compute = Histogram(
            "onnxmesh_worker_compute_seconds",
            "Time of one run of a stage.",
            ["stage"],
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._measured: set[StageKey] = set()
        registry.register(self)

    def run_observer(self, stage: StageKey) -> Callable[[float], None]:
        """Returns the observer of a stage's run times, in seconds; series of stages no longer held are removed."""
        for removed in [each for each in self._measured if each not in self._stages]:
            self._measured.remove(removed)
            self._compute.remove(removed)
        self._measured.add(stage)
        observe: Callable[[float], None] = self._compute.labels(stage).observe
        return observe

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics of the load."""
        load = self._load()
        queued = GaugeMetricFamily(
            "onnxmesh_worker_requests_queued", "Requests that wait for a stage.", labels=["stage"]
        )
        running = GaugeMetricFamily(
            "onnxmesh_worker_requests_running", "Requests that a stage computes.", labels=["stage"]
        )
        for stage in load.stages:
            queued.add_metric([stage.stage], stage.queued)
            running.add_metric([stage.stage], stage.running)
        ended = CounterMetricFamily(
            "onnxmesh_worker_requests",
            "Requests that have ended here, at each of their hops once: completed (sent on or answered), failed, or "
            "dropped (cancelled).",
            labels=["outcome"],
        )
        ended.add_metric(["completed"], load.completed)
        ended.add_metric(["failed"], load.failed)
        ended.add_metric(["dropped"], load.dropped)
        yield from (queued, running, ended)
        yield GaugeMetricFamily(
            "onnxmesh_worker_stages", "Stages that are held and take requests.", value=len(load.stages)
        )
        yield GaugeMetricFamily(
            "onnxmesh_worker_in_flight_bytes",
            "Tensors of everything that is here.",
            value=load.in_flight_bytes,
        )
        yield GaugeMetricFamily(
            "onnxmesh_worker_resident_bytes", "Memory of this process.", value=load.resident_bytes
        )

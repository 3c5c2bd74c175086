"""Metrics of a scheduler that does not lead."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from onnxmesh.leadership.base import Leader, LeaderStatus
from services.scheduler.metrics import SchedulerMetrics


def test_metrics_of_a_follower_have_the_term_and_the_epoch_alone():
    """Only the leader has metrics of workers, models and commands."""
    registry = CollectorRegistry()
    SchedulerMetrics(
        registry, lambda: LeaderStatus(Leader("other", "h:1", 7)), lambda: None, epoch=lambda: 12
    )
    found = {sample.name: sample.value for family in registry.collect() for sample in family.samples}
    assert found == {
        "onnxmesh_scheduler_leading": 0,
        "onnxmesh_scheduler_term": 7,
        "onnxmesh_scheduler_route_table_epoch": 12,
    }

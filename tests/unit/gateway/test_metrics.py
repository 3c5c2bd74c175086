"""Prometheus metrics of a gateway."""

from __future__ import annotations

from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.metrics import GatewayMetrics
from tests.fakes.routed_models import routed_model


def test_gateway_metrics_are_read_from_the_parts_at_each_scrape():
    """Before the first table it has epoch 0 and no models."""
    registry = CollectorRegistry()
    watch = SimpleNamespace(table=None)
    GatewayMetrics(
        registry,
        admission=SimpleNamespace(num_running=2),
        dispatcher=SimpleNamespace(num_retried=3),
        router=SimpleNamespace(num_ejected=4),
        watch=watch,
        freshness=SimpleNamespace(is_stale=True, without_scheduler_s=1.5),
    )

    def value(name):
        return registry.get_sample_value(f"onnxmesh_gateway_{name}")

    assert [value("requests_in_flight"), value("attempts_retried_total"), value("replicas_ejected")] == [
        2,
        3,
        4,
    ]
    assert [value("route_table_stale"), value("scheduler_unheard_seconds")] == [1, 1.5]
    assert [value("route_table_epoch"), value("route_table_models")] == [0, 0]
    watch.table = RoutingTable.from_proto(RouteTable(epoch=7, models=[routed_model([[("a", "a:1")]])]))
    assert [value("route_table_epoch"), value("route_table_models")] == [7, 1]
    assert value("route_table_workers") == len(watch.table.workers)

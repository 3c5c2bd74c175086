"""Prometheus metrics of a gateway, collected when they are scraped."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.routing.table.table import EMPTY_TABLE
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.inference.admission import Admission
from services.gateway.routes.route_watch import RouteWatch
from services.gateway.routes.router import Router
from services.gateway.routes.table_freshness import TableFreshness


class GatewayMetrics(Collector):
    """Reads the counters and gauges that the parts of a gateway keep anyway.

    Args:
        registry: Of Prometheus.
        admission: Counts requests in flight.
        dispatcher: Counts attempts.
        router: Counts ejected replicas.
        watch: The route table.
        freshness: Whether the table is fresh.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        admission: Admission,
        dispatcher: Dispatcher,
        router: Router,
        watch: RouteWatch,
        freshness: TableFreshness,
    ) -> None:
        self._admission = admission
        self._dispatcher = dispatcher
        self._router = router
        self._watch = watch
        self._freshness = freshness
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics."""
        table = self._watch.table or EMPTY_TABLE
        yield GaugeMetricFamily(
            "onnxmesh_gateway_requests_in_flight",
            "Inference requests that were admitted and have not ended.",
            value=self._admission.num_running,
        )
        yield CounterMetricFamily(
            "onnxmesh_gateway_attempts_retried",
            "Attempts that followed another one of the same request.",
            value=self._dispatcher.num_retried,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_replicas_ejected",
            "Replicas that get no requests for a while: they fail, or are far slower than their peers.",
            value=self._router.num_ejected,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_epoch",
            "Epoch of the route table in force; 0: there is none yet.",
            value=table.epoch,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_models",
            "Versions of models in the route table.",
            value=len(table.models),
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_workers",
            "Workers in the route table.",
            value=len(table.workers),
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_route_table_stale",
            "1 while no scheduler sends changes to the route table, and the last one stays in force; else 0.",
            value=self._freshness.is_stale,
        )
        yield GaugeMetricFamily(
            "onnxmesh_gateway_scheduler_unheard_seconds",
            "Time since the stream of a scheduler was lost; 0 while one is followed.",
            value=self._freshness.without_scheduler_s,
        )

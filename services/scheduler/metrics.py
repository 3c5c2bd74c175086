"""Metrics of a scheduler for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.leadership.base import LeaderStatus
from services.scheduler.leadership.leader_context import LeaderContext


class SchedulerMetrics(Collector):
    """Collects metrics when Prometheus scrapes; those of workers, models and commands only while it leads.

    Args:
        registry: Where the metrics are registered.
        status: Returns who leads.
        context: Returns the term under way; None while this scheduler does not lead.
        epoch: Returns the epoch of the route table that this scheduler publishes or relays.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        status: Callable[[], LeaderStatus],
        context: Callable[[], LeaderContext | None],
        *,
        epoch: Callable[[], int],
    ) -> None:
        self._status = status
        self._context = context
        self._epoch = epoch
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields the metrics of this moment."""
        context = self._context()
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_leading", "1 while this scheduler leads, else 0.", value=context is not None
        )
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_term", "Term of the leader; 0: there is none.", value=self._status().term
        )
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_route_table_epoch",
            "Epoch of the route table that gateways get here; 0: there is none.",
            value=self._epoch(),
        )
        if context is not None:
            yield from _leader_metrics(context)


def _leader_metrics(context: LeaderContext) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "onnxmesh_scheduler_workers", "Workers that are registered.", value=len(context.fleet.streams)
    )
    deployed = set(context.catalogue.deployments)
    table = context.publisher.table
    complete = {
        key for key, model in table.models.items() if all(stage.replicas for stage in model.stages)
    } & deployed
    models = GaugeMetricFamily(
        "onnxmesh_scheduler_models",
        "Versions of models that are deployed: complete (each stage has a replica) or incomplete.",
        labels=["state"],
    )
    models.add_metric(["complete"], len(complete))
    models.add_metric(["incomplete"], len(deployed) - len(complete))
    yield models
    commands = CounterMetricFamily(
        "onnxmesh_scheduler_commands", "Commands sent to workers in this term.", labels=["command"]
    )
    for kind, num in sorted(context.fleet.num_commands.items()):
        commands.add_metric([kind], num)
    yield commands

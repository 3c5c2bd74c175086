"""What a scheduler tells Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from onnxmesh.leadership.base import LeaderStatus
from services.scheduler.leadership.leader_context import LeaderContext


class SchedulerMetrics(Collector):
    """Figures that the scheduler has anyway, read when Prometheus asks; most of them while it leads alone.

    Args:
        registry: Where they are told.
        standing: Returns who leads.
        office: Returns what this scheduler leads with; None while it does not.
        epoch: Returns the epoch of the route table that gateways get here.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        standing: Callable[[], LeaderStatus],
        office: Callable[[], LeaderContext | None],
        epoch: Callable[[], int],
    ) -> None:
        self._standing = standing
        self._office = office
        self._epoch = epoch
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yields them."""
        office = self._office()
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_leading", "1 while this scheduler leads, else 0.", value=office is not None
        )
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_term",
            "Term of office of the scheduler that leads; 0: none does.",
            value=self._standing().term,
        )
        yield GaugeMetricFamily(
            "onnxmesh_scheduler_route_table_epoch",
            "Epoch of the route table that gateways are told here; 0: there is none.",
            value=self._epoch(),
        )
        if office is not None:
            yield from _of_office(office)


def _of_office(office: LeaderContext) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "onnxmesh_scheduler_workers", "Workers that are registered.", value=len(office.fleet.links)
    )
    deployed = set(office.catalogue.deployments)
    table = office.publisher.table
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
    for kind, num in sorted(office.fleet.num_commands.items()):
        commands.add_metric([kind], num)
    yield commands

"""Health of models, and what else follows the changes of route tables."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from grpc_health.v1.health_pb2 import HealthCheckResponse
from hypothesis import given

from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import difference
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.routes.model_health import ModelHealth
from services.gateway.routes.router import Router
from tests.fakes.fake_worker_links import FakeWorkerLinks
from tests.fakes.route_changes import change_between
from tests.fakes.route_tables import WORKERS, tables


class FakeHealth:
    """Keeps the status of each service."""

    def __init__(self):
        self.statuses = {}

    async def set(self, service, status):
        self.statuses[service] = status


def expected_health(table):
    def status(name):
        complete = any(model.is_complete for model in table.versions(name))
        return HealthCheckResponse.SERVING if complete else HealthCheckResponse.NOT_SERVING

    return {f"mesh.model/{name}": status(name) for name in table.names}


@given(tables())
async def test_streams_boards_and_health_follow_the_changes_of_tables(sequence):
    """Streams are kept to the workers of the table; boards and health have nothing else."""
    links, recorded = FakeWorkerLinks(*WORKERS), FakeHealth()
    router = Router("g", links, rng=Random(1))
    dispatcher = Dispatcher("g", links, router, max_attempts=1)
    balancer = router.balancer
    health = ModelHealth(recorded)
    table = RoutingTable.from_proto(sequence[0])
    steps = [(table, difference(EMPTY_TABLE, table))]
    for before, after in pairwise(sequence):
        change = change_between(before, after)
        now = table.apply(change)
        steps.append((now, difference(table, now, change)))
        table = now
    for table, news in steps:
        dispatcher.update(table, news)
        await health.update(table, {name for name, _ in news.models})
        for model in table.models.values():
            for stage in model.stages:
                balancer.board(stage, 0.0)
        reached = {worker: member.address for worker, member in table.workers.items() if member.address}
        assert {worker: links.kept.get(worker) for worker in reached} == reached
        assert links.kept.keys() <= table.workers.keys()  # a draining worker is kept, if it was
        keys = {stage.key for model in table.models.values() for stage in model.stages}
        assert balancer._stages.keys() == keys
        assert balancer.workers._slots.keys() <= table.workers.keys()
        known = {service: status for service, status in recorded.statuses.items() if service}
        removed = {service for service in known if known[service] == HealthCheckResponse.SERVICE_UNKNOWN}
        assert {service: known[service] for service in known.keys() - removed} == expected_health(table)
        assert recorded.statuses[""] == HealthCheckResponse.SERVING

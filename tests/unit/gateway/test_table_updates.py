"""What becomes of streams, boards and health as tables change."""

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
from tests.fakes.fake_peers import FakePeers
from tests.fakes.route_changes import change_between
from tests.fakes.route_tables import WORKERS, tables


class FakeHealth:
    """Keeps what was said."""

    def __init__(self):
        self.said = {}

    async def set(self, service, status):
        self.said[service] = status


def expected_health(table):
    def status(name):
        complete = any(model.is_complete for model in table.versions(name))
        return HealthCheckResponse.SERVING if complete else HealthCheckResponse.NOT_SERVING

    return {f"mesh.model/{name}": status(name) for name in table.names}


@given(tables())
async def test_everything_keeps_up_by_looking_at_the_changes(sequence):
    """Streams go to whom the table names, boards and health know of nothing else."""
    peers, said = FakePeers(*WORKERS), FakeHealth()
    router = Router("g", peers, rng=Random(1))
    dispatcher = Dispatcher("g", peers, router, max_attempts=1)
    balancer = router.balancer
    health = ModelHealth(said)
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
        assert {worker: peers.kept.get(worker) for worker in reached} == reached
        assert peers.kept.keys() <= table.workers.keys()  # who is only let finish is kept, if it was
        keys = {stage.key for model in table.models.values() for stage in model.stages}
        assert balancer._stages.keys() == keys
        assert balancer.workers._slots.keys() <= table.workers.keys()
        known = {service: status for service, status in said.said.items() if service}
        gone = {service for service in known if known[service] == HealthCheckResponse.SERVICE_UNKNOWN}
        assert {service: known[service] for service in known.keys() - gone} == expected_health(table)
        assert said.said[""] == HealthCheckResponse.SERVING

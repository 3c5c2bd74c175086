"""What decisions and route tables cost, in real time on this machine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any

from benchmarks.simulate.large_table import NUM_MODELS, NUM_WORKERS, LargeTable
from onnxmesh.errors import Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.route_query import UNCONSTRAINED, RouteQuery
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.table.table import EMPTY_TABLE, RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference, difference
from onnxmesh.routing.table.worker_facts import WorkerFacts
from onnxmesh.v1.mesh_pb2 import RouteUpdate
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.requests.worker_links import WorkerLink
from services.gateway.routes.model_health import ModelHealth
from services.gateway.routes.router import Router
from services.scheduler.route_table.published_table import PublishedTable
from services.scheduler.route_table.routes import Routes, build_routes


@dataclass(frozen=True, slots=True)
class Cost:
    """One figure.

    Attributes:
        what: What was done.
        seconds: The least of several runs.
        goal_s: What it should stay under.
    """

    what: str
    seconds: float
    goal_s: float


def decision_costs() -> list[Cost]:
    """Returns what one decision costs with few candidates and with many."""
    return [
        Cost(f"a decision, {num} candidates", _decision_s(num), goal_s)
        for num, goal_s in ((2, 50e-6), (16, 50e-6), (1000, 200e-6))
    ]


def table_costs() -> list[Cost]:
    """Returns what a large route table costs, whole and where the replicas of one model change, on either side."""
    large = LargeTable()
    routes = build_routes(large.deployments, large.routed, large.workers, Routes())
    before = PublishedTable(1, routes.models, routes.workers)
    whole = before.update(None).SerializeToString()
    # As a placement makes it: all objects are new, and one stage has a replica less.
    routed = {key: workers[:1] + workers[1:] for key, workers in large.routed.items()}
    first = next(iter(routed))
    routed[first] = routed[first][1:]

    def first_table() -> bytes:
        built = build_routes(large.deployments, large.routed, large.workers, Routes())
        return PublishedTable(1, built.models, built.workers).update(None).SerializeToString()

    def next_table() -> PublishedTable:
        built = build_routes(large.deployments, routed, dict(large.workers), routes)
        if not before.differs(built.models, built.workers):
            raise AssertionError("a replica went, and the table is the same")
        return PublishedTable(2, built.models, built.workers, before=before)

    after = next_table()
    update = after.update(before)
    delta = update.SerializeToString()
    held = RoutingTable.from_proto(RouteUpdate.FromString(whole).whole)
    applied = held.apply(update.change)
    gateway = _Gateway()
    gateway.take(held, difference(EMPTY_TABLE, held))
    for model in held.models.values():
        # So that the policy has a board for each stage, as after requests.
        _finish(gateway.router.explain(model, UNCONSTRAINED))

    size = f"{NUM_MODELS:,} models x {NUM_WORKERS:,} workers, {len(whole) / 1e6:.1f} MB"
    costs: list[tuple[str, Callable[[], object], float]] = [
        (f"whole table, scheduler: placement to bytes; {size}", first_table, 2.0),
        (
            "whole table, gateway: bytes to table",
            lambda: RoutingTable.from_proto(RouteUpdate.FromString(whole).whole),
            2.0,
        ),
        (
            "whole table, gateway: dispatcher, policy and health updated",
            lambda: _Gateway().take(held, difference(EMPTY_TABLE, held)),
            2.0,
        ),
        ("change of a model, scheduler: placement to table", next_table, 0.02),
        (
            f"change of a model, scheduler: table to bytes; {len(delta):,} bytes",
            lambda: (
                PublishedTable(2, after.models, after.workers, before=before)
                .update(before)
                .SerializeToString()
            ),
            0.02,
        ),
        (
            "change of a model, gateway: bytes to table",
            lambda: held.apply(RouteUpdate.FromString(delta).change),
            0.02,
        ),
        (
            "change of a model, gateway: dispatcher, policy and health updated",
            lambda: gateway.take(applied, difference(held, applied, update.change)),
            0.02,
        ),
    ]
    return [Cost(what, _least_s(call, 3 if goal_s > 1 else 9), goal_s) for what, call, goal_s in costs]


def _decision_s(num: int) -> float:
    facts = [WorkerFacts((), {"region": "r", "zone": f"z{zone}"}) for zone in range(3)]
    replicas = tuple(Replica(WorkerId(f"w{i}"), f"w{i}:1", 1, facts[i % 3]) for i in range(num))
    stage = RoutedStage(StageKey("m/1/0"), replicas)
    rng = Random(1)
    balancer = Balancer(Origin("g", Locality("r", "z0")), rng)
    live = {replica.worker for replica in replicas}
    now_s = 0.0
    for step in range(2 * num):
        now_s += 1e-4
        route = balancer.pick_route((stage,), live.__contains__, now_s)
        assert not isinstance(route, NoRoute)
        ticket = balancer.begin((stage,), route, now_s)
        balancer.observe_answer(stage.key, route[0].worker, 0.01 + rng.random() * 0.01, now_s)
        balancer.observe_report(route[0].worker, rng.random() * 0.05, {}, now_s)
        if step % 2:
            balancer.end(ticket)
    query = RouteQuery(remaining_s=10.0, num_bytes=1e5)

    def twenty() -> None:
        nonlocal now_s
        for _ in range(20):
            now_s += 1e-4
            balancer.pick_route((stage,), live.__contains__, now_s, query)

    return _least_s(twenty, 200) / 20


class _Gateway:
    """The parts of a gateway that get each table; its streams lead nowhere."""

    def __init__(self) -> None:
        self.router = Router("g", _Nowhere(), rng=Random(1))
        self._dispatcher = Dispatcher("g", _Nowhere(), self.router, max_attempts=1)
        self._health = ModelHealth(_Nowhere())

    def take(self, table: RoutingTable, news: TableDifference) -> None:
        self._dispatcher.update(table, news)
        _finish(self._health.update(table, {name for name, _ in news.models}))


def _finish(call: Coroutine[Any, Any, object]) -> None:
    """Carries out what waits for nothing here: no event loop is measured."""
    try:
        call.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


class _Nowhere:
    """Streams that are never open, and a server's health that is never queried."""

    async def set(self, service: str, status: int) -> None:
        """Publishes nothing."""

    def get(self, peer: str) -> None:
        return None

    async def connect(self, peer: str, address: str) -> WorkerLink:
        raise Unavailable(f"{peer} at {address} is never reached here")

    def keep(self, peers: Mapping[str, str], removed: Iterable[str] = ()) -> None:
        """Holds nothing."""


def _least_s(call: Callable[[], object], num_runs: int) -> float:
    least = float("inf")
    for _ in range(num_runs):
        begin = perf_counter()
        call()
        least = min(least, perf_counter() - begin)
    return least

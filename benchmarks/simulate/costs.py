"""What decisions and route tables cost, in real time on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Balancer, NoRoute
from onnxmesh.routing.locality import Locality
from onnxmesh.routing.policy import Ask
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table import Replica, RoutedStage, RoutingTable
from onnxmesh.routing.worker_facts import WorkerFacts
from onnxmesh.v1 import mesh_pb2

NUM_MODELS = 1000
NUM_WORKERS = 10_000
NUM_REPLICAS = 20
"""Replicas of each model: every worker then holds two stages."""


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
    """Returns what it costs to read a large route table, and to take one that differs in one model."""
    message = _table()
    table = RoutingTable.from_proto(message)
    balancer = Balancer(Origin(), Random(1))
    changed = mesh_pb2.RouteTable()
    changed.CopyFrom(message)
    changed.epoch += 1
    changed.models[0].stages[0].replicas.pop()

    def keep() -> None:
        balancer.keep(table.stage_keys, table.workers)

    size = f"{NUM_MODELS:,} models x {NUM_WORKERS:,} workers"
    return [
        Cost(f"a table read, {size}", _least_s(lambda: RoutingTable.from_proto(message), 3), 2.0),
        Cost(
            "the same with one replica less, read whole",
            _least_s(lambda: RoutingTable.from_proto(changed), 3),
            0.02,
        ),
        Cost("the policy told of a table", _least_s(keep, 3), 0.02),
    ]


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
        balancer.answered(stage.key, route[0].worker, 0.01 + rng.random() * 0.01, now_s)
        balancer.report(route[0].worker, rng.random() * 0.05, {}, now_s)
        if step % 2:
            balancer.end(ticket)
    ask = Ask(remaining_s=10.0, num_bytes=1e5)

    def twenty() -> None:
        nonlocal now_s
        for _ in range(20):
            now_s += 1e-4
            balancer.pick_route((stage,), live.__contains__, now_s, ask)

    return _least_s(twenty, 200) / 20


def _table() -> mesh_pb2.RouteTable:
    table = mesh_pb2.RouteTable(epoch=1)
    for number in range(NUM_MODELS):
        stage = table.models.add(name=f"model-{number}", version=1).stages.add(stage=f"model-{number}/1/0")
        for replica in range(NUM_REPLICAS):
            worker = (number * NUM_REPLICAS + replica) % NUM_WORKERS
            stage.replicas.add(worker=f"w{worker}", address=f"w{worker}.example:50051", generation=1)
    for worker in range(NUM_WORKERS):
        table.workers.add(
            worker=f"w{worker}",
            tags=["edge"],
            attributes={"region": "r", "zone": f"z{worker % 3}", "cores": "8"},
        )
    return table


def _least_s(call: Callable[[], object], num_runs: int) -> float:
    least = float("inf")
    for _ in range(num_runs):
        begin = perf_counter()
        call()
        least = min(least, perf_counter() - begin)
    return least

"""What gateways and people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.ids import Digest, StageKey
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import (
    Artefact,
    DeploymentSpec,
    Partition,
    Plan,
    Signature,
    TensorSpec,
)
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.operations.drain_goal import why_it_stays
from services.scheduler.operations.model_status import model_status
from services.scheduler.placement.placement import Placement, WorkerView
from services.scheduler.route_table.route_messages import inputs_by_stage
from services.scheduler.route_table.routes import Routes, build_routes
from services.scheduler.workers.holdings import Held, HoldingState
from tests.unit.scheduler.decision_tables import STAGE, worker


def deployment(num_stages=1, replicas=1, **plan):
    partitions = [Partition(index=i, artefact=Artefact(digest=f"d{i}")) for i in range(num_stages)]
    return Deployment(
        DeploymentSpec(name="m", version=1, replicas=replicas),
        Plan(partitions=partitions, **plan),
        Artefact(),
    )


def view(id_, **stages):
    return WorkerView(id_, stages={StageKey(f"m/1/{key[1:]}"): held for key, held in stages.items()})


def test_a_model_appears_when_it_is_complete_and_stays_afterwards():
    workers = {"a": worker("a")}
    half = {"m/1/0": ("a",), "m/1/1": ()}
    none = build_routes([deployment(2)], half, workers, Routes())
    assert none.models == {}
    whole = build_routes([deployment(2)], half | {"m/1/1": ("a",)}, workers, none)
    assert [len(stage.replicas) for stage in whole.models["m", 1].stages] == [1, 1]
    after = build_routes([deployment(2)], half, workers, whole)
    assert [len(stage.replicas) for stage in after.models["m", 1].stages] == [1, 0]
    assert build_routes([], {}, workers, after).published == frozenset()


def test_gateways_are_told_which_inputs_go_straight_to_which_stage():
    """Stage 0 then lists what it reads or passes on; a plan without direct inputs lists nothing."""
    inputs = [TensorSpec(name=name) for name in ("a", "b", "c", "d")]
    first = Partition(inputs=inputs[1:2], live_out=["h", "d", "y"])
    plan = Plan(
        signature=Signature(inputs=inputs),
        partitions=[
            first,
            Partition(index=1, direct_inputs=["a"]),
            Partition(index=2, direct_inputs=["b", "c"]),
        ],
    )
    assert inputs_by_stage(plan) == [["b", "d"], ["a"], ["b", "c"]]
    routes = build_routes(
        [replace(deployment(3), plan=plan)],
        {f"m/1/{index}": ("w",) for index in range(3)},
        {"w": worker("w")},
        Routes(),
    )
    assert [list(stage.direct_inputs) for stage in routes.models["m", 1].stages] == [
        ["b", "d"],
        ["a"],
        ["b", "c"],
    ]
    plain = Plan(signature=Signature(inputs=inputs), partitions=[first, Partition(index=1)])
    assert inputs_by_stage(plain) == [[], []]


def test_gateways_are_told_what_workers_say_of_themselves():
    """Once for each worker that the models name, however many stages it serves."""
    workers = {"a": worker("a", "edge", zone="eu"), "b": worker("b"), "idle": worker("idle")}
    routes = build_routes([deployment(2)], {"m/1/0": ("a", "b"), "m/1/1": ("a",)}, workers, Routes())
    told = {id_: (list(each.tags), dict(each.attributes)) for id_, each in routes.workers.items()}
    assert told == {"a": (["edge"], {"zone": "eu"}), "b": ([], {})}


def test_gateways_are_told_who_leaves_and_how_versions_share():
    """A worker that leaves is there without a replica, too; a version without a part has none."""
    workers = {id_: worker(id_) for id_ in ("a", "b", "c")}
    key = ("m", 1)
    routes = build_routes(
        [deployment()], {STAGE: ("a",)}, workers, Routes(), leaving={"a", "b"}, percents={key: 30}
    )
    assert {id_: each.leaving for id_, each in routes.workers.items()} == {"a": True, "b": True}
    assert routes.models[key].traffic_percent == 30
    alone = build_routes([deployment()], {STAGE: ("a",)}, workers, Routes())
    assert not alone.models[key].HasField("traffic_percent")


@pytest.mark.parametrize(
    ("workers", "lacking_bytes", "why"),
    [
        ([], {}, "m/1/0: there is no other worker"),
        ([WorkerView("c", leaving=True)], {}, "m/1/0: there is no other worker"),
        ([WorkerView("b", frozenset({"gpu"}))], {}, ""),
        ([WorkerView("b")], {}, "m/1/0: no other worker satisfies gpu"),
        (
            [WorkerView("b", frozenset({"gpu"}))],
            {STAGE: 5_000_000},
            "m/1/0: no other worker has the memory for it, the best lacks 5.0 MB",
        ),
        (
            [WorkerView("b", frozenset({"gpu"}), {}, {STAGE: Held(HoldingState.LOADING, Digest("d"))})],
            {STAGE: 5_000_000},
            "",
        ),
        (
            [
                WorkerView(
                    "b",
                    frozenset({"gpu"}),
                    {},
                    {STAGE: Held(HoldingState.FAILED, Digest("d"), "X", "no disk")},
                )
            ],
            {},
            "m/1/0: it could not be loaded on b: no disk",
        ),
    ],
)
def test_what_keeps_a_stage_on_a_worker_that_leaves_is_named(workers, lacking_bytes, why):
    """Nothing is said of one that is being moved."""
    stage = DesiredStage(STAGE, ("m", 1), Digest("d"), require=("gpu",))
    everyone = [WorkerView("a", frozenset({"gpu"}), leaving=True), *workers]
    assert why_it_stays(stage, "a", everyone, Placement({}, lacking_bytes=lacking_bytes)) == why


READY = Held(HoldingState.READY, Digest("d0"))
LOADING = Held(HoldingState.LOADING, Digest("d0"))
FAILED = Held(HoldingState.FAILED, Digest("d0"), "INVALID_MODEL", "no such op")
STATES = {
    "ready": ({"m/1/0": ("a",)}, [view("a", s0=READY)], False, 1, "READY", ""),
    "one of two": (
        {"m/1/0": ("a",)},
        [view("a", s0=READY)],
        False,
        2,
        "READY",
        "stage 0 has 1 of 2 replicas",
    ),
    "loading": ({}, [view("a", s0=LOADING)], False, 1, "LOADING", "stage 0 has no replica"),
    "lost": ({}, [view("a", s0=LOADING)], True, 1, "UNAVAILABLE", "stage 0 has no replica"),
    "no worker": ({}, [], True, 1, "UNAVAILABLE", "stage 0 has no replica: no worker is there"),
    "failed": (
        {},
        [view("a", s0=FAILED)],
        True,
        1,
        "UNAVAILABLE",
        "stage 0 has no replica: INVALID_MODEL: no such op on a",
    ),
}


@pytest.mark.parametrize(
    ("routed", "workers", "published", "replicas", "state", "reason"), STATES.values(), ids=STATES.keys()
)
def test_status_says_what_is_missing_and_why(routed, workers, published, replicas, state, reason):
    seen = frozenset({("m", 1)}) if published else frozenset()
    status = model_status(deployment(replicas=replicas), workers, Placement(routed), seen)
    assert (status.state, status.reason) == (state, reason)
    assert len(status.replicas) == len(workers)

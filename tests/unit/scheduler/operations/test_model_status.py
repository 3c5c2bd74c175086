"""The status of a deployment, and its reason."""

from __future__ import annotations

import pytest

from onnxmesh.ids import Digest, StageKey
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import (
    Artefact,
    DeploymentSpec,
    Partition,
    Plan,
)
from services.scheduler.operations.model_status import model_status
from services.scheduler.placement.placement import Placement, WorkerView
from services.scheduler.workers.holdings import Held, HoldingState


def deployment(num_stages=1, replicas=1, **plan):
    partitions = [Partition(index=i, artefact=Artefact(digest=f"d{i}")) for i in range(num_stages)]
    return Deployment(
        DeploymentSpec(name="m", version=1, replicas=replicas),
        Plan(partitions=partitions, **plan),
        Artefact(),
    )


def view(id_, **stages):
    return WorkerView(id_, stages={StageKey(f"m/1/{key[1:]}"): held for key, held in stages.items()})


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
def test_model_status_names_what_is_missing_and_why(routed, workers, published, replicas, state, reason):
    seen = frozenset({("m", 1)}) if published else frozenset()
    status = model_status(deployment(replicas=replicas), workers, Placement(routed), seen)
    assert (status.state, status.reason) == (state, reason)
    assert len(status.replicas) == len(workers)

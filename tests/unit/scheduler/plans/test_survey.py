"""What a planner sees of the mesh."""

from __future__ import annotations

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement import WorkerView
from services.scheduler.plans.survey import Survey, used_bytes
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.worker_kinds import kinds_of


def test_used_bytes_count_where_stages_are_held():
    """Evicting and failed ones use none; nor do stages outside the query."""
    stages = [
        DesiredStage(StageKey(f"m/1/{i}"), (ModelName("m"), Version(1)), Digest("d"), peak_bytes=10**i)
        for i in range(3)
    ]
    states = [HoldingState.READY, HoldingState.LOADING, HoldingState.EVICTING]
    held = {stage.key: Held(state, Digest("d")) for stage, state in zip(stages, states, strict=True)}
    ghost = {StageKey("n/1/0"): Held(HoldingState.READY, Digest("d"))}
    views = [WorkerView(WorkerId("a"), stages=held | ghost), WorkerView(WorkerId("b"), stages=held)]
    assert used_bytes(stages, views) == {"worker/a": 11, "worker/b": 11}


LINK = LinkSpec(bytes_per_s=1e6, latency_s=0.0)


def worker(id_, kind="cpu-a-1t", flops=1e9, **facts):
    """One that computes a node of 1e9 operations in 1e9 / flops seconds."""
    speed = DeviceSpeed(flops, 1e12, 0.0).to_plain()
    attributes = {"device.kind": kind, "device": kind.partition("-")[0]} | {
        f"speed.{name}": str(v) for name, v in speed.items()
    }
    return Instance(id_, "worker", f"{id_}:1", 1, (), attributes | facts)


def survey(*workers):
    kinds = kinds_of(workers, {})
    return Survey(kinds, Cluster(tuple(kind.device for kind in kinds), {}, LINK))


def test_survey_finds_the_workers_of_a_kind():
    """An unknown name has none."""
    seen = survey(worker("a"), worker("b"), worker("c", "cpu-b-1t"))
    assert seen.workers_of("cpu-a-1t") == ("a", "b")
    assert seen.workers_of("other") == ()
    assert WorkerId("c") in seen.workers_of("cpu-b-1t")

"""What a plan in force is worth, and when another is worth the change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import ModelName, Version, stage_key
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, InputUse, NodeCost
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.plan import Objective, StagePlan, WholeModel
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.signature import Signature
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan, PlannedDevices
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.plans.plan_assessment import assess_plan, cuts_of, reason_to_replan, same_partitions
from services.scheduler.plans.survey import Survey
from services.scheduler.workers.worker_kinds import kinds_of

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


def costs(boundary_bytes=0, inputs=()):
    """Four nodes of a second each on a worker of 1e9 operations a second."""
    nodes = tuple(NodeCost(f"n{i}", "Add", 10**9, 0, ()) for i in range(4))
    return GraphCosts(nodes, (Boundary(boundary_bytes, 1),) * 3, (), inputs, Signature((), ()))


def plan(*num_nodes, kinds=None, direct=None):
    partitions = [
        Partition(
            index=index,
            num_nodes=count,
            artefact=Artefact(digest=f"d{index}"),
            devices=[PlannedDevices(kind=kinds[index], count=1)] if kinds else [],
            direct_inputs=(direct or {}).get(index, []),
        )
        for index, count in enumerate(num_nodes)
    ]
    return Plan(partitions=partitions)


def assessment(made, holders, seen, known=None):
    stages = desired_stages(Deployment(DeploymentSpec(name="m", version=1, replicas=1), made, Artefact()))
    by_key = {stage_key(ModelName("m"), Version(1), i): ids for i, ids in enumerate(holders)}
    return assess_plan(made, stages, by_key, seen, known or costs(), None)


def new_plan(period_s, latency_s=1.0, objective=Objective.THROUGHPUT):
    stage = StagePlan(
        start=0,
        end=4,
        devices=(("k", 1),),
        compute_s=latency_s,
        transfer_s=0.0,
        period_s=period_s,
        boundary_bytes=0,
        weight_bytes=0,
        peak_bytes=0,
    )
    return CutPlan(objective, (stage,), WholeModel("k", 1.0, 0, fits=True), "why")


def test_cuts_of_a_plan_follow_from_its_partitions():
    """A stage begins where the one before ends."""
    assert cuts_of(plan(1, 2, 3)) == (1, 3)
    assert cuts_of(plan(4)) == ()


ASSESSMENTS = {
    "one stage for each of two workers": (plan(3, 1), [["a"], ["b"]], 3.0, 4.0),
    "both on one": (plan(3, 1), [["a"], ["a"]], 4.0, 4.0),
    "replicas share the requests": (plan(4), [["a", "b"]], 2.0, 4.0),
    "a worker that is not planned with does not count": (plan(4), [["a", "z"]], 4.0, 4.0),
}


@pytest.mark.parametrize(("made", "holders", "period_s", "latency_s"), ASSESSMENTS.values(), ids=ASSESSMENTS)
def test_assessment_follows_from_where_the_stages_are(made, holders, period_s, latency_s):
    """Workers are busy for all that they hold."""
    found = assessment(made, holders, survey(worker("a"), worker("b")))
    assert (found.gaps, found.period_s, found.latency_s) == ((), period_s, latency_s)


def test_assessment_uses_the_speed_of_each_worker():
    """The slower one is the bottleneck with the smaller part."""
    seen = survey(worker("a"), worker("b", "cpu-b-1t", flops=1e8))
    found = assessment(plan(3, 1), [["a"], ["b"]], seen)
    assert (found.period_s, found.latency_s) == (10.0, 13.0)


def test_assessment_counts_bytes_that_cross_a_cut_but_not_direct_inputs():
    """A megabyte a second: 0.5 s of tensors and 0.25 s of an input that a later stage reads."""
    inputs = (InputUse("late", 250_000, (3,)), InputUse("early", 10**6, (0,)))
    known = costs(boundary_bytes=500_000, inputs=inputs)
    seen = survey(worker("a"), worker("b"))
    assert assessment(plan(2, 2), [["a"], ["b"]], seen, known).period_s == 2.75
    straight = plan(2, 2, direct={1: ["late"]})
    assert assessment(straight, [["a"], ["b"]], seen, known).period_s == 2.5


def test_assessment_names_what_no_longer_fits():
    """A stage that is not held, or planned for a kind that left; a worker of an equal kind replaces another."""
    seen = survey(worker("a"))
    nowhere = assessment(plan(2, 2), [["a"], []], seen)
    assert nowhere.gaps == ("stage 1 is held by no worker",)
    assert nowhere.period_s == float("inf")
    removed = assessment(plan(2, 2, kinds=["cpu-a-1t", "cpu-b-1t"]), [["a"], ["a"]], seen)
    assert removed.gaps == ("stage 1 was planned for 'cpu-b-1t', which left the mesh",)
    assert assessment(plan(4, kinds=["cpu-a-1t #2"]), [["a"]], seen).gaps == ()


@pytest.mark.parametrize(
    ("period_s", "worth"), [(0.79, True), (0.8, True), (0.81, False), (1.0, False), (2.0, False)]
)
def test_reason_to_replan_needs_a_fifth(period_s, worth):
    """Whichever figure its objective counts."""
    now = assessment(plan(4), [["a"]], survey(worker("a", flops=4e9)))
    assert (now.period_s, now.latency_s) == (1.0, 1.0)
    assert (reason_to_replan(now, new_plan(period_s)) is not None) == worth
    assert (reason_to_replan(now, new_plan(9.0, period_s, Objective.LATENCY)) is not None) == worth


def test_reason_to_replan_is_what_no_longer_fits():
    """Even to one that is slower; the reason is what does not fit."""
    now = replace(assessment(plan(4), [["a"]], survey(worker("a"))), gaps=("stage 0 is held by no worker",))
    assert reason_to_replan(now, new_plan(100.0)) == "stage 0 is held by no worker"


def cut_plan(*edges, kinds=("cpu-a-1t",), direct=()):
    stages = tuple(
        StagePlan(
            start=start,
            end=end,
            devices=((kinds[i % len(kinds)], 1),),
            compute_s=1.0 + i,
            transfer_s=0.5,
            period_s=1.5 + i,
            boundary_bytes=10,
            weight_bytes=20,
            peak_bytes=30 + i,
            direct_inputs=direct,
        )
        for i, (start, end) in enumerate(pairwise(edges))
    )
    return CutPlan(Objective.THROUGHPUT, stages, WholeModel("k", 1.0, 0, fits=True), "because")


def test_same_partitions_need_equal_cuts_and_direct_inputs():
    """Other positions, or other direct inputs, need new ones."""
    assert same_partitions(plan(1, 3), cut_plan(0, 1, 4))
    assert not same_partitions(plan(1, 3), cut_plan(0, 2, 4))
    assert not same_partitions(plan(1, 3), cut_plan(0, 1, 4, direct=("x",)))

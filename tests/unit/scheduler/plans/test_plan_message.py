"""The plan as it is saved and shown, and checks of what was cut."""

from __future__ import annotations

from itertools import pairwise

import pytest

from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import CorruptData, InvalidPlan
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Objective, StagePlan, WholeModel
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.v1 import model_pb2
from onnxmesh.v1.model_pb2 import Artefact, Partition
from onnxmesh.v1.worker_pb2 import CutResponse
from services.scheduler.plans.plan_message import (
    check_agreement,
    checked,
    plan_message,
    record_predictions,
    verifiers,
)
from services.scheduler.plans.survey import Survey
from services.scheduler.workers.eligibility import Eligible
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


def test_plan_message_has_predictions_and_workers_of_each_kind():
    """Devices with the workers of each kind; portable partitions are optimised where they are loaded."""
    seen = survey(worker("a"), worker("b"), worker("c", "cpu-b-1t"))
    cut = cut_plan(0, 1, 4, kinds=("cpu-a-1t", "cpu-b-1t"))
    eligible = Eligible((), CutMode.PORTABLE, OptimisationLevel.NONE)
    partitions = [Partition(index=i, artefact=Artefact(digest=str(i))) for i in range(2)]
    made = plan_message(
        Artefact(digest="source"),
        eligible,
        seen,
        cut,
        signature=model_pb2.Signature(),
        partitions=partitions,
        largest_difference=1e-6,
    )
    assert (made.mode, made.optimisation, made.why, made.source_digest) == (
        "portable",
        "none",
        "because",
        "source",
    )
    assert (made.predicted_period_s, made.predicted_latency_s) == (2.5, 4.0)
    first, second = made.partitions
    assert [(d.kind, d.count, list(d.workers)) for d in first.devices] == [("cpu-a-1t", 1, ["a", "b"])]
    assert [list(d.workers) for d in second.devices] == [["c"]]
    assert (second.estimated_cost, second.peak_bytes, second.load_optimisation) == (2.5, 31, "all")
    record_predictions(made, cut_plan(0, 1, 4), survey(worker("z")))
    assert [list(d.workers) for part in made.partitions for d in part.devices] == [["z"], ["z"]]


def test_checked_refuses_other_partitions_than_planned():
    """Their number, and where their inputs come from."""
    digest = "0" * 64
    parts = [Partition(index=i, artefact=Artefact(digest=digest)) for i in range(2)]
    with pytest.raises(InvalidPlan, match=r"the plan has 1 stage, the worker cut \[0, 1\]"):
        checked(parts, cut_plan(0, 4))


def test_verifiers_are_the_workers_of_every_other_class_of_device():
    """Threads make no other class; workers that the plan leaves out are not considered."""
    cpu, wide = worker("a", **{"cpu.class": "x86"}), worker("b", "cpu-a-2t", **{"cpu.class": "x86"})
    arm = worker("c", "cpu-arm-1t", **{"cpu.class": "arm"})
    gpus = [worker(id_, "cuda-L4", device="cuda", **{"gpu.model": "L4"}) for id_ in "de"]
    seen = survey(cpu, wide, arm, *gpus)
    planned = cut_plan(0, 1, 2, 4, kinds=("cpu-a-1t", "cpu-a-2t", "cuda-L4"))
    found = verifiers(cpu, seen, planned)
    assert [[each.id for each in candidates] for candidates in found] == [["d", "e"]]


def test_check_agreement_refuses_different_cuts():
    """The largest difference of all counts, or that it could not be measured."""

    def cut(difference, digest="d"):
        return CutResponse(
            partitions=[Partition(artefact=Artefact(digest=digest))], largest_difference=difference
        )

    assert check_agreement("a", cut(1.0), "b", cut(3.0), 1.0) == 3.0
    assert check_agreement("a", cut(1.0), "b", cut(0.5), 2.0) == 2.0
    assert check_agreement("a", cut(1.0), "b", cut(-1.0), 1.0) == -1.0
    assert check_agreement("a", cut(-1.0), "b", cut(1.0), -1.0) == -1.0
    with pytest.raises(CorruptData, match=r"'a' and 'b' cut the model differently: \['d'\] and \['e'\]"):
        check_agreement("a", cut(1.0), "b", cut(1.0, "e"), 1.0)

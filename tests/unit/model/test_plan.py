"""Sums over the stages of a plan."""

from __future__ import annotations

from onnxmesh.model.plan import Objective, Plan, StagePlan, WholeModel


def stage(start, end, compute_s, period_s, devices=(("a", 1),)) -> StagePlan:
    """A stage that sends for a quarter of a second."""
    return StagePlan(
        start=start,
        end=end,
        devices=devices,
        compute_s=compute_s,
        transfer_s=0.25,
        period_s=period_s,
        boundary_bytes=0,
        weight_bytes=0,
        peak_bytes=0,
    )


def test_plan_has_the_period_of_its_bottleneck_and_the_sum_of_delays():
    """Three stages: the second is the slowest, although the third computes longest on two replicas."""
    stages = (stage(0, 2, 1.0, 1.25), stage(2, 5, 2.0, 2.25), stage(5, 6, 3.0, 1.625, (("a", 1), ("b", 1))))
    plan = Plan(Objective.THROUGHPUT, stages, WholeModel("a", 6.0, 0, fits=True), "")
    assert plan.cuts == (2, 5)
    assert (plan.period_s, plan.bottleneck) == (2.25, 1)
    assert plan.latency_s == 6.75
    assert stages[2].num_replicas == 2

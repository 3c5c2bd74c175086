"""The result of `onnxmesh plan`."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.cli.model_files.plan_report import NodeTimes, PlannedModel, PlanReport
from onnxmesh.cli.model_files.plan_table import plan_sentences
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import WholeModel
from tests.unit.pictures.made_plans import made_plan


def report_of(compute_s: float) -> PlanReport:
    """A report whose uncut model takes `compute_s`."""
    facts = made_plan(2, 60, seed=2)
    model = PlannedModel("m", CutMode.EXACT, OptimisationLevel.ALL, InputShapes(), facts.costs)
    plan = replace(facts.plan, whole=WholeModel("box", compute_s, 10**9, fits=True))
    return PlanReport(model, facts.cluster, NodeTimes({}), plan, relief="")


def test_plan_report_compares_with_the_uncut_model():
    """Throughput by the slowest stage, latency by the sum of all."""
    report = report_of(2.0)
    assert report.throughput_ratio == 2.0 / report.plan.period_s
    assert report.latency_ratio == report.plan.latency_s / 2.0


def test_plan_report_has_no_ratio_to_a_model_without_time():
    """There is no latency to compare with."""
    report = report_of(0.0)
    assert report.latency_ratio is None
    assert not any("latency of a single request" in sentence for sentence in plan_sentences(report))

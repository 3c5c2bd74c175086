"""What is said about a plan in words."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from onnxmesh.cli.model_files.plan_report import PlanReport
from onnxmesh.cli.model_files.plan_table import plan_sentences, plan_table
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import WholeModel
from tests.unit.pictures.made_plans import KINDS, made_plan


def report_of(num_stages, relief="", **whole):
    facts = made_plan(num_stages, 30 * num_stages, seed=2)
    plan = replace(
        facts.plan, whole=WholeModel(KINDS[0].name, whole.get("compute_s", 1.0), 9 * 10**9, whole["fits"])
    )
    return PlanReport(
        model="model [red]",
        mode=CutMode.PORTABLE,
        level=OptimisationLevel.EXTENDED,
        shapes=InputShapes(),
        costs=facts.costs,
        cluster=facts.cluster,
        profile=None,
        profile_path="",
        sources={kind.name: ("estimated", "") for kind in KINDS},
        plan=plan,
        relief=relief,
    )


def shown(report):
    text = StringIO()
    Console(file=text, width=300).print(plan_table(report))
    return text.getvalue()


def test_names_are_shown_as_they_are():
    """Names with square brackets are no markup, and devices come with their numbers."""
    text = shown(report_of(4, fits=True))
    assert "model [red] planned for throughput, portable mode" in text
    assert " of 4.00 GB" in text
    assert f"1 \u00d7 {KINDS[2].name}" in text


def test_a_single_stage_is_not_called_the_slowest():
    """Where there is nothing to compare with, nothing is marked."""
    assert "slowest" not in shown(report_of(1, fits=True))


def test_what_binds_is_said():
    """A whole that does not fit, inputs that go directly and what would help are each told."""
    sentences = list(plan_sentences(report_of(3, relief="one more 'box' would do", fits=False)))
    assert any("(which has not the 9.00 GB for it)" in sentence for sentence in sentences)
    assert any(
        sentence.startswith("limited by stage ") and "one more 'box' would do" in sentence
        for sentence in sentences
    )
    assert "stage 1 gets pos<&> straight from the gateway" in sentences


def test_no_ratio_is_made_of_nothing():
    """A whole that takes no time gives no ratio of latencies."""
    report = report_of(2, fits=True, compute_s=0.0)
    assert report.latency_ratio is None
    assert not any("latency of one request" in sentence for sentence in plan_sentences(report))

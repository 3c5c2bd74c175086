"""The table and the sentences of a plan."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from onnxmesh.cli.model_files.plan_report import NodeTimes, PlannedModel, PlanReport
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
        model=PlannedModel(
            "model [red]", CutMode.PORTABLE, OptimisationLevel.EXTENDED, InputShapes(), facts.costs
        ),
        cluster=facts.cluster,
        times=NodeTimes({kind.name: ("estimated", "") for kind in KINDS}),
        plan=plan,
        relief=relief,
    )


def shown(report):
    text = StringIO()
    Console(file=text, width=300).print(plan_table(report))
    return text.getvalue()


def test_plan_table_escapes_names():
    """Names with square brackets are no markup, and devices come with their numbers."""
    text = shown(report_of(4, fits=True))
    assert "model [red] planned for throughput, portable mode" in text
    assert " of 4.00 GB" in text
    assert f"1 \u00d7 {KINDS[2].name}" in text


def test_plan_table_marks_no_single_stage():
    """There is no other stage to compare with."""
    assert "slowest" not in shown(report_of(1, fits=True))


def test_plan_sentences_name_the_bottleneck():
    """And its relief, an uncut model that does not fit, and direct inputs."""
    sentences = list(plan_sentences(report_of(3, relief="one more 'box' would do", fits=False)))
    assert any("(which lacks the 9.00 GB for it)" in sentence for sentence in sentences)
    assert any(
        sentence.startswith("limited by stage ") and "one more 'box' would do" in sentence
        for sentence in sentences
    )
    assert "stage 1 receives pos<&> directly from the gateway" in sentences

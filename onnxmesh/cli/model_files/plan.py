"""`onnxmesh plan`: how a model would be cut and spread, without a mesh."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from onnxmesh.cli.model_files.plan_document import plan_document
from onnxmesh.cli.model_files.plan_profile import find_profile, times_sources, times_text
from onnxmesh.cli.model_files.plan_report import PlanReport
from onnxmesh.cli.model_files.plan_table import plan_sentences, plan_table
from onnxmesh.cli.model_files.shapes import parse_shapes
from onnxmesh.cli.terminal.choices import choice
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.counts import AUTO, parse_num_replicas, parse_num_stages
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.cli.terminal.worker_extra import require_model, worker_extra
from onnxmesh.cli.terminal.written_file import require_writable, write_whole
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.improvement import find_improvement
from onnxmesh.planning.planner import make_plan

_FEWEST_DEVICES = 2


@dataclass(frozen=True, slots=True)
class _Wish:
    """The options, understood."""

    model: Path
    devices: Path | None
    demand: Demand
    shapes: InputShapes
    profile: Path | None
    estimate: bool
    level: OptimisationLevel
    mode: CutMode


def plan(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    devices: Annotated[
        Path | None,
        typer.Option(
            metavar="devices.yaml",
            help="Devices and links to plan for; default: two like one thread of this machine.",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(
            metavar="throughput|latency", help="Many answers a second, or one answer as soon as possible."
        ),
    ] = Objective.THROUGHPUT.value,
    stages: Annotated[str, typer.Option(metavar="K|auto", help="Number of stages.")] = AUTO,
    replicas: Annotated[
        str, typer.Option(metavar="R|auto", help="Number of devices that hold each stage.")
    ] = AUTO,
    batch: Annotated[
        int, typer.Option(metavar="N", help="First dimension of inputs where that is free.")
    ] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input to plan with; may be repeated."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measured times; default: MODEL.profile.json beside the model, where it is there.",
        ),
    ] = None,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Estimate all times, whatever was measured.")
    ] = False,
    optimisation: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="What ONNX Runtime does before the cut: none, basic, extended or all."
        ),
    ] = OptimisationLevel.EXTENDED.value,
    mode: Annotated[
        str,
        typer.Option(
            metavar="exact|portable", help="Cut the optimised graph, or the model as it was written."
        ),
    ] = CutMode.EXACT.value,
    svg: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw the plan there.")] = None,
    as_json: Json = False,
) -> None:
    """Show how a model would be cut and spread over devices, and what to expect of it. Nothing is deployed.

    Says for each stage who holds it, what it takes in time and memory and what it sends; which stage is the slowest
    and what would relieve it; and what is gained over the whole model on the best single device. Figures are
    predictions, from a profile of the model where there is one. docs/planning.md tells how to write devices.yaml.

    **Examples**

        onnxmesh plan resnet50.onnx
        onnxmesh plan llm.onnx --devices site.yaml --objective latency --shape input_ids=1x512
        onnxmesh plan resnet50.onnx --stages 3 --batch 8 --svg plan.svg
    """
    with reported(), worker_extra():
        demand = Demand(
            choice("--objective", objective, Objective),
            parse_num_stages(stages) or None,
            parse_num_replicas(replicas) or None,
        )
        level, how = (
            choice("--optimisation", optimisation, OptimisationLevel),
            choice("--mode", mode, CutMode),
        )
        if no_profile and profile is not None:
            raise InvalidRequest("--no-profile and --profile exclude each other")
        wish = _Wish(
            model, devices, demand, parse_shapes(batch, shape or []), profile, no_profile, level, how
        )
        require_model(model)
        if svg is not None:
            require_writable("--svg", svg)
        report = _report(wish)
        if svg is not None:
            write_whole("--svg", svg, _picture(report))
        if as_json:
            typer.echo(json.dumps(plan_document(report)))
            return
        console = output()
        console.print(plan_table(report))
        for sentence in plan_sentences(report):
            console.print(sentence, markup=False)


def _report(wish: _Wish) -> PlanReport:
    from onnxmesh.cli.model_files.planned_model import costs_of, planned_shapes  # noqa: PLC0415 - not in the base install
    from onnxmesh.graph.reading.source import source_digest  # noqa: PLC0415 - not in the base install

    cluster = _cluster(wish)
    found = None if wish.estimate else find_profile(wish.model, wish.profile)
    costs = costs_of(wish.model, wish.level, wish.mode, wish.shapes)
    if found is not None:
        at = planned_shapes(wish.model, costs, wish.shapes)
        found.check(source_digest(wish.model), wish.level, at, wish.mode)
    profile = None if found is None else found.profile
    made = make_plan(costs, cluster, wish.demand, profile)
    help_for_slowest = find_improvement(costs, cluster, wish.demand, made, profile)
    return PlanReport(
        model=wish.model.stem,
        mode=wish.mode,
        level=wish.level,
        shapes=wish.shapes,
        costs=costs,
        cluster=cluster,
        profile=profile,
        profile_path="" if found is None else str(found.path),
        sources=times_sources(cluster, profile),
        plan=made,
        relief="" if help_for_slowest is None else help_for_slowest.sentence,
    )


def _cluster(wish: _Wish) -> Cluster:
    if wish.devices is not None:
        from onnxmesh.cli.devices_file.reading import read_devices  # noqa: PLC0415 - not in the base install

        return read_devices(wish.devices)
    from onnxmesh.cli.model_files.this_machine import like_this_machine  # noqa: PLC0415 - not in the base install

    return like_this_machine(max(_FEWEST_DEVICES, wish.demand.num_stages or 1) * (wish.demand.replicas or 1))


def _picture(report: PlanReport) -> str:
    from onnxmesh.pictures.drawing import svg_of  # noqa: PLC0415 - not in the base install
    from onnxmesh.pictures.plan_facts import plan_facts  # noqa: PLC0415 - not in the base install
    from onnxmesh.pictures.plan_picture import plan_picture  # noqa: PLC0415 - not in the base install

    times = times_text(report.sources)
    return svg_of(
        plan_picture(
            plan_facts(report.model, report.plan, report.costs, report.cluster, report.profile, times)
        )
    )

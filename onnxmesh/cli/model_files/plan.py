"""`onnxmesh plan`: shows how a model would be cut and placed on devices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from onnxmesh.cli.model_files.plan_document import plan_document
from onnxmesh.cli.model_files.plan_profile import find_profile, times_sources, times_text
from onnxmesh.cli.model_files.plan_report import NodeTimes, PlannedModel, PlanReport
from onnxmesh.cli.model_files.plan_table import plan_sentences, plan_table
from onnxmesh.cli.terminal.choices import parse_choice
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.counts import AUTO, parse_count
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.cli.terminal.written_file import require_writable, write_whole
from onnxmesh.errors import InvalidRequest
from onnxmesh.files.model_path import require_model_file
from onnxmesh.model.cluster import Cluster
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.improvement import find_improvement
from onnxmesh.planning.planner import make_plan
from onnxmesh.worker_extra import require_worker_extra

_FEWEST_DEVICES = 2


@dataclass(frozen=True, slots=True)
class _PlanOptions:
    """The parsed options."""

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
            help="Devices and links to plan for; default: two devices like one thread of this machine.",
        ),
    ] = None,
    objective: Annotated[
        str,
        typer.Option(metavar="throughput|latency", help="What the plan optimises."),
    ] = Objective.THROUGHPUT.value,
    stages: Annotated[str, typer.Option(metavar="K|auto", help="Number of stages.")] = AUTO,
    replicas: Annotated[str, typer.Option(metavar="R|auto", help="Number of replicas of each stage.")] = AUTO,
    batch: Annotated[
        int, typer.Option(metavar="N", help="First dimension of inputs where it is dynamic.")
    ] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input to plan for; may be repeated."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of measured times; default: MODEL.profile.json beside the model, if it exists.",
        ),
    ] = None,
    no_profile: Annotated[
        bool, typer.Option("--no-profile", help="Estimate all times, even if a profile exists.")
    ] = False,
    optimisation: Annotated[
        str,
        typer.Option(
            metavar="LEVEL", help="ONNX Runtime's optimisation before the cut: none, basic, extended or all."
        ),
    ] = OptimisationLevel.EXTENDED.value,
    mode: Annotated[
        str,
        typer.Option(metavar="exact|portable", help="Cut the optimised graph, or the model as it is."),
    ] = CutMode.EXACT.value,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Write a picture of the plan to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how a model would be cut and placed on devices, with its predicted throughput and latency. Nothing is deployed.

    Lists the devices, times, memory and transfers of each stage, the slowest stage and what would speed it up, and compares
    the plan with the uncut model on the best single device. All times are predictions, from a profile of the model if one
    exists. docs/planning.md describes devices.yaml.

    **Examples**

    ```
    onnxmesh plan resnet50.onnx
    onnxmesh plan llm.onnx --devices site.yaml --shape input_ids=1x512
    onnxmesh plan llm.onnx --devices site.yaml --objective latency
    onnxmesh plan resnet50.onnx --stages 3 --batch 8 --svg plan.svg
    ```
    """
    with errors_reported(), require_worker_extra():
        demand = Demand(
            parse_choice("--objective", objective, Objective),
            parse_count("--stages", stages) or None,
            parse_count("--replicas", replicas) or None,
        )
        level, how = (
            parse_choice("--optimisation", optimisation, OptimisationLevel),
            parse_choice("--mode", mode, CutMode),
        )
        if no_profile and profile is not None:
            raise InvalidRequest("--no-profile and --profile exclude each other")
        options = _PlanOptions(
            model, devices, demand, parse_shapes(batch, shape or []), profile, no_profile, level, how
        )
        require_model_file(model)
        if svg is not None:
            require_writable("--svg", svg)
        report = _report(options)
        if svg is not None:
            write_whole("--svg", svg, _picture(report))
        if as_json:
            print_json(plan_document(report))
            return
        console = output()
        console.print(plan_table(report))
        for sentence in plan_sentences(report):
            console.print(sentence, markup=False)


def _report(options: _PlanOptions) -> PlanReport:
    from onnxmesh.cli.model_files.plan_inputs import model_costs, planned_shapes  # noqa: PLC0415 - not in the base install
    from onnxmesh.graph.reading.source import source_digest  # noqa: PLC0415 - not in the base install

    cluster = _cluster(options)
    found = None if options.estimate else find_profile(options.model, options.profile)
    costs = model_costs(options.model, options.level, options.mode, options.shapes)
    if found is not None:
        at = planned_shapes(options.model, costs, options.shapes)
        found.check(source_digest(options.model), options.level, at, options.mode)
    profile = None if found is None else found.profile
    made = make_plan(costs, cluster, options.demand, profile)
    suggestion = find_improvement(costs, cluster, options.demand, made, profile)
    return PlanReport(
        model=PlannedModel(options.model.stem, options.mode, options.level, options.shapes, costs),
        cluster=cluster,
        times=NodeTimes(times_sources(cluster, profile), profile, "" if found is None else str(found.path)),
        plan=made,
        relief="" if suggestion is None else suggestion.sentence,
    )


def _cluster(options: _PlanOptions) -> Cluster:
    if options.devices is not None:
        from onnxmesh.cli.devices_file.read_devices import read_devices  # noqa: PLC0415 - not in the base install

        return read_devices(options.devices)
    from onnxmesh.cli.model_files.plan_inputs import local_cluster  # noqa: PLC0415 - not in the base install

    return local_cluster(
        max(_FEWEST_DEVICES, options.demand.num_stages or 1) * (options.demand.replicas or 1)
    )


def _picture(report: PlanReport) -> str:
    from onnxmesh.pictures.drawing import svg_of  # noqa: PLC0415 - not in the base install
    from onnxmesh.pictures.plan_facts import plan_facts  # noqa: PLC0415 - not in the base install
    from onnxmesh.pictures.plan_picture import plan_picture  # noqa: PLC0415 - not in the base install

    model, times = report.model, report.times
    return svg_of(
        plan_picture(
            plan_facts(
                model.name,
                report.plan,
                model.costs,
                report.cluster,
                times.profile,
                times_text(times.sources),
            )
        )
    )

"""`onnxmesh split` and `onnxmesh verify`: the cut on files, without a mesh."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.model_files.shapes import parse_shapes
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.counts import AUTO, parse_num_stages
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.outcome import FAILED, reported
from onnxmesh.cli.terminal.worker_extra import require_model, worker_extra
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel

if TYPE_CHECKING:
    from onnxmesh.graph.checks.verify import VerifyReport
    from onnxmesh.graph.cutting.plan_file import PlanFile
    from onnxmesh.model.plan import Plan
    from onnxmesh.model.tensor_spec import TensorSpec


def split(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the partitions go; it must not exist, or be empty.")
    ],
    stages: Annotated[
        str, typer.Option(metavar="K|auto", help="Number of stages; auto chooses by estimated cost.")
    ] = AUTO,
    mode: Annotated[
        CutMode, typer.Option(help="exact: optimise, then cut. portable: cut, then optimise where it runs.")
    ] = CutMode.EXACT,
    optimisation: Annotated[
        OptimisationLevel,
        typer.Option(help="What ONNX Runtime does to the whole model before an exact cut."),
    ] = OptimisationLevel.EXTENDED,
    batch: Annotated[int, typer.Option(help="Batch size to plan for.")] = 1,
    shape: Annotated[
        list[str] | None, typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input to plan for.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Run a portable cut beside the whole model; a large one takes a while.",
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Cut a model into partitions, each a model of its own, without a mesh.

    In exact mode the whole model is optimised once and then cut: run with optimisation off, one after the other, the
    partitions answer as the whole does at that level, bit for bit. Level all belongs to one class of CPU.

    In portable mode the model is cut as it is, and each partition is meant to be optimised, at level all, by the
    machine that loads it. The largest difference from the whole is measured here, unless `--no-measure` says not to.

    `plan.json` beside the partitions says how they came about.

    **Examples**

        onnxmesh split resnet50.onnx --stages 3 --out cut
        onnxmesh split resnet50.onnx --stages 3 --out cut --mode portable
        onnxmesh verify cut resnet50.onnx
    """
    with reported(), worker_extra():
        from onnxmesh.graph.split import split_model  # noqa: PLC0415 - not in the base install

        require_model(model)
        try:
            plan, estimates = split_model(
                model,
                out,
                parse_num_stages(stages) or None,
                level=optimisation,
                mode=mode,
                shapes=parse_shapes(batch, shape or []),
                measure=measure,
            )
        except OSError as error:
            raise InvalidRequest(f"--out: {error}") from error
    if as_json:
        typer.echo((out / "plan.json").read_text(encoding="utf-8").rstrip())
    else:
        output().print(partitions_table(plan, estimates, out))


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What `onnxmesh split` wrote.")],
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model that was split.")],
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest difference to accept, relative to the largest magnitude in its output; 0: bit for bit. "
            "Without it what the plan accepts: 0 for exact; portable 1e-4, or 2e-2 where half precision or "
            "8-bit integers are computed, 0.25 with still fewer bits.",
        ),
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, help="Number of random inputs to try.")] = 3,
    free: Annotated[int, typer.Option(min=1, help="Figure for dimensions that may vary.")] = 2,
    as_json: Json = False,
) -> None:
    """Run the partitions and the whole model on the same random inputs, and compare.

    Says whether they are equal bit for bit, or how large the largest difference is. Ends with exit code 1 if it
    is beyond the tolerance, or if a partition was changed since it was cut.

    **Examples**

        onnxmesh verify cut resnet50.onnx
        onnxmesh verify cut resnet50.onnx --tolerance 1e-6 --inputs 10 --free 4
    """
    with reported(), worker_extra():
        from onnxmesh.graph.checks.verify import verify_chain  # noqa: PLC0415 - not in the base install
        from onnxmesh.graph.cutting.plan_file import PLAN_FILE  # noqa: PLC0415 - not in the base install

        require_model(model)
        if not (folder / PLAN_FILE).is_file():
            raise InvalidRequest(f"'{folder}' has no {PLAN_FILE}: `onnxmesh split` writes such folders")
        report = verify_chain(folder, model, range(inputs), free)
    bound = report.accepted_difference if tolerance is None else tolerance
    good = report.equal or report.largest_relative <= bound
    if as_json:
        document = {"equal": report.equal, "accepted": good, "tolerance": bound, **asdict(report)}
        typer.echo(json.dumps(document))
    else:
        output().print(report_table(report))
        typer.echo(_sentence(report, bound))
    if not good:
        raise typer.Exit(FAILED)


def partitions_table(plan: PlanFile, estimates: Plan, out: Path) -> Table:
    """One row for each partition, with what its computing and its boundary are estimated at."""
    title = f"{plan.model} in {out}, {_described_mode(plan)}"
    table = Table("stage", title=title, caption=estimates.why)
    table.add_column("takes", overflow="fold")
    table.add_column("gives", overflow="fold")
    for column in ("nodes", "weights", "share of cost", "sends"):
        table.add_column(column, justify="right")
    total_s = sum(stage.compute_s for stage in estimates.stages) or 1.0
    for partition, estimate in zip(plan.partitions, estimates.stages, strict=True):
        table.add_row(
            f"stage-{partition.index}",
            "\n".join(
                _described(spec) + (" direct" if spec.name in partition.direct_inputs else "")
                for spec in partition.inputs
            ),
            "\n".join(_described(spec) for spec in partition.outputs),
            str(partition.num_nodes),
            decimal(partition.weight_bytes),
            f"{estimate.compute_s / total_s:.0%}",
            decimal(estimate.boundary_bytes) if estimate.boundary_bytes else "",
        )
    return table


def report_table(report: VerifyReport) -> Table:
    """One row for each output."""
    table = Table("output", "bit for bit", title=f"{report.num_stages} stages against the whole model")
    for column in ("largest difference", "relative"):
        table.add_column(column, justify="right")
    for found in report.outputs:
        figures = (f"{found.largest_absolute:.3g}", f"{found.largest_relative:.3g}")
        table.add_row(found.name, "equal" if found.equal else "[red]different[/red]", *figures)
    return table


def _sentence(report: VerifyReport, tolerance: float) -> str:
    inputs = f"{report.num_inputs} random inputs at optimisation {report.level.value}"
    if report.equal:
        return f"equal bit for bit on {inputs}"
    within = "within" if report.largest_relative <= tolerance else "beyond"
    return (
        f"different on {inputs}: {report.largest_relative:.3g} relative, {within} the bound of {tolerance:g}"
    )


def _described_mode(plan: PlanFile) -> str:
    if plan.mode is CutMode.EXACT:
        return f"exact at optimisation {plan.level.value}"
    if plan.largest_difference is None:
        return "portable; its difference from the whole was not measured"
    return f"portable, within {plan.largest_difference:.2g} of the whole"


def _described(spec: TensorSpec) -> str:
    shape = "?" if spec.shape is None else "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return escape(f"{spec.name} {spec.datatype} {shape}")

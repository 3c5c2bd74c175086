"""`onnxmesh verify`: compares the partitions of `onnxmesh split` with the uncut model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import FAILED, errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.worker_extra import require_model, require_worker_extra
from onnxmesh.errors import InvalidRequest
from onnxmesh.quantities import count_text

if TYPE_CHECKING:
    from onnxmesh.graph.checks.verify import VerifyReport


def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder that `onnxmesh split` wrote.")],
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model that was split.")],
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest accepted difference, relative to the largest magnitude in the output; 0: bit for bit. Default: "
            "the plan's, 0 for exact; for portable 1e-4, 2e-2 with half precision or 8-bit integers, 0.25 with "
            "fewer bits.",
        ),
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, help="Number of random inputs to compare.")] = 3,
    free: Annotated[int, typer.Option(min=1, help="Size of dynamic dimensions.")] = 2,
    as_json: Json = False,
) -> None:
    """Run the partitions and the uncut model on the same random inputs, and compare their outputs.

    Reports equality bit for bit, or the largest difference. Exits with 1 if that exceeds the tolerance, or if a partition
    was changed since the cut.

    **Examples**

        onnxmesh verify cut resnet50.onnx
        onnxmesh verify cut resnet50.onnx --tolerance 1e-6 --inputs 10 --free 4
    """
    with errors_reported(), require_worker_extra():
        from onnxmesh.graph.checks.verify import verify_chain  # noqa: PLC0415 - not in the base install
        from onnxmesh.graph.cutting.plan_file import PLAN_FILE  # noqa: PLC0415 - not in the base install

        require_model(model)
        if not (folder / PLAN_FILE).is_file():
            raise InvalidRequest(f"'{folder}' has no {PLAN_FILE}: it was not written by `onnxmesh split`")
        report = verify_chain(folder, model, range(inputs), free)
    bound = report.accepted_difference if tolerance is None else tolerance
    good = report.equal or report.largest_relative <= bound
    if as_json:
        document = {"equal": report.equal, "accepted": good, "tolerance": bound, **asdict(report)}
        print_json(document)
    else:
        output().print(report_table(report))
        typer.echo(_sentence(report, bound))
    if not good:
        raise typer.Exit(FAILED)


def report_table(report: VerifyReport) -> Table:
    """Returns one row for each output."""
    table = Table(
        "output", "bit for bit", title=f"{count_text(report.num_stages, 'stage')} against the uncut model"
    )
    for column in ("largest difference", "relative"):
        table.add_column(column, justify="right")
    for found in report.outputs:
        figures = (f"{found.largest_absolute:.3g}", f"{found.largest_relative:.3g}")
        table.add_row(found.name, "equal" if found.equal else "[red]different[/red]", *figures)
    return table


def _sentence(report: VerifyReport, tolerance: float) -> str:
    inputs = f"{count_text(report.num_inputs, 'random input')} at optimisation {report.level.value}"
    if report.equal:
        return f"equal bit for bit on {inputs}"
    within = "within" if report.largest_relative <= tolerance else "beyond"
    return f"different on {inputs}: {report.largest_relative:.3g} relative, {within} the tolerance of {tolerance:g}"

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
from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.cli.terminal.tensor_arguments import read_input_arrays
from onnxmesh.errors import InvalidRequest, ModelRunFailed
from onnxmesh.files.model_path import require_model_file
from onnxmesh.model.input_shapes import shapes_text
from onnxmesh.quantities import count_text
from onnxmesh.tensors.arrays import from_array
from onnxmesh.worker_extra import require_worker_extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxmesh.graph.checks.verify import VerifyReport
    from onnxmesh.tensors.tensor import Tensor


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
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="First dimension of random inputs where it is dynamic.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            help="Shape of a random input; may be repeated. Default: the shapes that the model was split for, and 2 for "
            "each dynamic dimension; where the model refuses these, others are tried.",
        ),
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=FILE.npy",
            help="A file of numpy.save instead of random values for an input; may be repeated.",
        ),
    ] = None,
    free: Annotated[
        int | None,
        typer.Option(min=1, help="Size of all dynamic dimensions, instead of --batch and --shape."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the partitions and the uncut model on the same random inputs, and compare their outputs.

    Reports equality bit for bit, or the largest difference. Exits with 1 if that exceeds the tolerance, or if a partition
    was changed since the cut.

    **Examples**

    ```
    onnxmesh verify cut resnet50.onnx
    onnxmesh verify cut bert.onnx --shape input_ids=1x128 --inputs 10
    onnxmesh verify cut detector.onnx --input image=street.npy
    ```
    """
    with errors_reported(), require_worker_extra():
        from onnxmesh.graph.checks.verify import verify_chain  # noqa: PLC0415 - not in the base install
        from onnxmesh.graph.cutting.plan_file import PLAN_FILE  # noqa: PLC0415 - not in the base install

        require_model_file(model)
        if not (folder / PLAN_FILE).is_file():
            raise InvalidRequest(f"'{folder}' has no {PLAN_FILE}: it was not written by `onnxmesh split`")
        shapes = (
            None if batch is None and not shape else parse_shapes(1 if batch is None else batch, shape or [])
        )
        if free is not None and (shapes is not None or given):
            raise InvalidRequest(
                "--free sets every size: give either --free, or --batch, --shape and --input"
            )
        try:
            report = verify_chain(
                folder, model, range(inputs), free, shapes=shapes, given=_tensors(folder, model, given or [])
            )
        except ModelRunFailed as error:
            raise ModelRunFailed(
                f"{error.message}; give a shape that it accepts with --shape NAME=1x3x224x224, or an input with "
                "--input NAME=FILE.npy"
            ) from error
    bound = report.accepted_difference if tolerance is None else tolerance
    good = report.equal or report.largest_relative <= bound
    if as_json:
        print_json({"equal": report.equal, "accepted": good, "tolerance": bound, **asdict(report)})
    else:
        output().print(report_table(report))
        typer.echo(_sentence(report, bound, random=not given))
    if not good:
        raise typer.Exit(FAILED)


def _tensors(folder: Path, model: Path, arguments: Sequence[str]) -> dict[str, Tensor]:
    """Returns the inputs of the options `--input`."""
    from onnxmesh.graph.cutting.plan_file import PlanFile  # noqa: PLC0415 - not in the base install

    read = read_input_arrays(arguments, model.name, PlanFile.load(folder).signature.inputs, seed=0)
    return {name: from_array(name, array, read.datatypes.get(name)) for name, array in read.arrays.items()}


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


def _sentence(report: VerifyReport, tolerance: float, *, random: bool) -> str:
    shapes = " and ".join(shapes_text(each) for each in report.shapes if each)
    noun = "run" if not shapes else "random input" if random else "input"
    inputs = count_text(report.num_inputs, noun)
    where = f"{inputs}{f' of {shapes}' if shapes else ''} at optimisation {report.level.value}"
    if report.equal:
        return f"equal bit for bit on {where}"
    within = "within" if report.largest_relative <= tolerance else "beyond"
    return f"different on {where}: {report.largest_relative:.3g} relative, {within} the tolerance of {tolerance:g}"

"""`onnxmesh split`: cuts a model into files, one for each partition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.counts import AUTO, parse_count
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.errors import InvalidRequest
from onnxmesh.files.model_path import require_model_file
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.worker_extra import require_worker_extra

if TYPE_CHECKING:
    from onnxmesh.graph.cutting.plan_file import PlanFile
    from onnxmesh.model.plan import Plan
    from onnxmesh.model.tensor_spec import TensorSpec


def split(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the partitions; it must be new or empty.")
    ],
    stages: Annotated[
        str,
        typer.Option(
            metavar="K|auto", help="Number of stages; auto: the number with the lowest estimated cost."
        ),
    ] = AUTO,
    mode: Annotated[
        CutMode,
        typer.Option(
            help="exact: optimise, then cut. portable: cut, then optimise on the device that runs it."
        ),
    ] = CutMode.EXACT,
    optimisation: Annotated[
        OptimisationLevel,
        typer.Option(help="ONNX Runtime's optimisation of the whole model before an exact cut."),
    ] = OptimisationLevel.EXTENDED,
    batch: Annotated[int, typer.Option(help="Batch size to plan for.")] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=1x3x224x224", help="Shape of an input to plan for; may be repeated."),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Measure how far a portable cut differs from the uncut model; slow for a large one.",
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Cut a model into partitions, each a model of its own, without a mesh.

    In exact mode the whole model is optimised once and then cut: run in order with optimisation off, the partitions give the
    outputs of the uncut model at that level, bit for bit. Level all is specific to one class of CPU.

    In portable mode the model is cut as it is, and each partition is to be optimised at level all by the machine that loads
    it. The largest difference from the uncut model is measured, unless `--no-measure` is given.

    `plan.json` beside the partitions records the cut.

    **Examples**

    ```
    onnxmesh split resnet50.onnx --stages 3 --out cut
    onnxmesh split resnet50.onnx --stages 3 --out cut --mode portable
    onnxmesh verify cut resnet50.onnx
    ```
    """
    with errors_reported(), require_worker_extra():
        from onnxmesh.graph.split import split_model  # noqa: PLC0415 - not in the base install

        require_model_file(model)
        try:
            plan, estimates = split_model(
                model,
                out,
                parse_count("--stages", stages) or None,
                level=optimisation,
                mode=mode,
                shapes=parse_shapes(batch, shape or []),
                measure=measure,
            )
        except FileExistsError as error:
            raise InvalidRequest(f"--out: {error}; choose a new folder, or remove that one") from error
        except OSError as error:
            raise InvalidRequest(f"--out: cannot write '{out}': {error.strerror}") from error
    if as_json:
        typer.echo((out / "plan.json").read_text(encoding="utf-8").rstrip())
    else:
        output().print(partitions_table(plan, estimates, out))


def partitions_table(plan: PlanFile, estimates: Plan, out: Path) -> Table:
    """Returns one row for each partition, with its share of the estimated cost and the size of its boundary."""
    title = f"{plan.model} in {out}, {_mode_text(plan)}"
    table = Table("stage", title=title, caption=estimates.why)
    table.add_column("inputs", overflow="fold")
    table.add_column("outputs", overflow="fold")
    for column in ("nodes", "weights", "share of cost", "transfer"):
        table.add_column(column, justify="right")
    total_s = sum(stage.compute_s for stage in estimates.stages) or 1.0
    for partition, estimate in zip(plan.partitions, estimates.stages, strict=True):
        table.add_row(
            f"stage-{partition.index}",
            "\n".join(
                _tensor_text(spec) + (" (direct)" if spec.name in partition.direct_inputs else "")
                for spec in partition.inputs
            ),
            "\n".join(_tensor_text(spec) for spec in partition.outputs),
            str(partition.num_nodes),
            decimal(partition.weight_bytes),
            f"{estimate.compute_s / total_s:.0%}",
            decimal(estimate.boundary_bytes) if estimate.boundary_bytes else "",
        )
    return table


def _mode_text(plan: PlanFile) -> str:
    if plan.mode is CutMode.EXACT:
        return f"exact at optimisation {plan.level.value}"
    if plan.largest_difference is None:
        return "portable; difference from the uncut model not measured"
    return f"portable, within {plan.largest_difference:.2g} of the uncut model"


def _tensor_text(spec: TensorSpec) -> str:
    shape = "?" if spec.shape is None else "x".join("?" if size < 0 else str(size) for size in spec.shape)
    return escape(f"{spec.name} {spec.datatype} {shape}")

"""`onnxmesh profile`: measures the time of each node of a model on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from onnxmesh.cli.model_files.operator_times import OperatorTimes, operator_times
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.exit_codes import errors_reported
from onnxmesh.cli.terminal.json_output import print_json
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.progress import progress_bar
from onnxmesh.cli.terminal.shapes import parse_shapes
from onnxmesh.cli.terminal.written_file import write_whole
from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.files.model_path import require_model_file
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile
from onnxmesh.quantities import count_text
from onnxmesh.worker_extra import require_worker_extra

if TYPE_CHECKING:
    from onnxmesh.model.input_shapes import InputShapes

_SHOWN = 12
"""Operators in the table; the others are summed in one row."""


def profile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    batch: Annotated[
        int, typer.Option(metavar="N", help="First dimension of inputs where it is dynamic.")
    ] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            help="Shape of an input; may be repeated. Default: 1 for each dynamic dimension.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of ONNX Runtime within an operator.")] = 1,
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda", help="Device to run on; auto: a GPU if there is one."),
    ] = "auto",
    optimisation: Annotated[
        OptimisationLevel, typer.Option(help="ONNX Runtime's optimisation of the whole model before the cut.")
    ] = OptimisationLevel.EXTENDED,
    mode: Annotated[
        CutMode,
        typer.Option(
            help="The mode of the later cut. Portable ignores --optimisation: each partition is optimised."
        ),
    ] = CutMode.EXACT,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="Approximate duration; up to twice as long for a slow model.")
    ] = 3.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File of the times; default: MODEL.profile.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure the time of each node of a model on this machine, for `onnxmesh plan`.

    Runs the graph that will be cut on random inputs and saves the times by kind of device: run it on each kind of machine with
    the same file. Earlier times of the same kind are replaced.

    **Examples**

    ```
    onnxmesh profile resnet50.onnx
    onnxmesh profile bert.onnx --batch 8 --shape input_ids=8x128
    ```
    """
    with errors_reported(), require_worker_extra():
        require_model_file(model)
        target = out or model.with_suffix(".profile.json")
        shapes = parse_shapes(batch, shape or [])
        level = OptimisationLevel.NONE if mode is CutMode.PORTABLE else optimisation
        known = _known(target, model, level, mode)
        try:
            costs, measured, kind = _measure(
                model,
                target.parent,
                level=level,
                mode=mode,
                shapes=shapes,
                threads=threads,
                device=device,
                seconds=seconds,
            )
            joined = measured if known is None else known.merged(measured)
            write_whole("--out", target, joined.to_json() + "\n")
        except OSError as error:
            raise InvalidRequest(f"--out: cannot write '{target}': {error.strerror}") from error
    times = measured.devices[kind]
    operators = operator_times(costs, times.node_s)
    if as_json:
        print_json(_document(target, kind, costs, measured, operators))
        return
    output().print(profile_table(model.name, kind, costs, operators))
    typer.echo(
        f"{kind}: {times.speed.flops_per_s / 1e9:.1f} GFLOP/s, {times.speed.bytes_per_s / 1e9:.1f} GB/s, "
        f"{times.speed.node_overhead_s * 1e6:.2f} µs per node; times of {_listed(joined)} in {target}"
    )


def profile_table(
    model: str, kind: str, costs: GraphCosts, operators: list[OperatorTimes], shown: int = _SHOWN
) -> Table:
    """Returns one row for each of the slowest operators, one for the others, and their sum."""
    total_s = sum(operator.seconds for operator in operators)
    nodes = len(costs.nodes)
    weights, peak = costs.weight_bytes(0, nodes), costs.peak_bytes(0, nodes)
    table = Table(
        title=f"{escape(model)} on {kind}: {_milliseconds(total_s)} per run",
        caption=f"memory: {decimal(weights)} of weights, {decimal(peak)} at the peak of a run",
    )
    table.add_column("operator", overflow="fold")
    for column in ("nodes", "time", "share", "GFLOP/s", "GB/s"):
        table.add_column(column, justify="right")
    rows = operators if len(operators) <= shown + 1 else operators[:shown]
    if rest := operators[len(rows) :]:
        rows = [*rows, OperatorTimes.total(count_text(len(rest), "other"), rest)]
    for row in [*rows, OperatorTimes.total("all", operators)]:
        table.add_row(
            escape(row.operator),
            str(row.num_nodes),
            _milliseconds(row.seconds),
            f"{row.seconds / (total_s or 1.0):.1%}",
            f"{row.flops_per_s / 1e9:.1f}",
            f"{row.bytes_per_s / 1e9:.1f}",
            end_section=bool(rows) and row is rows[-1],
        )
    return table


def _known(target: Path, model: Path, level: OptimisationLevel, mode: CutMode) -> Profile | None:
    """Returns the existing profile to extend, or None; a profile of another model is refused before anything is measured."""
    from onnxmesh.graph.reading.source import source_digest  # noqa: PLC0415 - not in the base install

    if not target.exists():
        return None
    try:
        known = Profile.from_json(target.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CorruptData) as error:
        raise InvalidRequest(
            f"'{target}' exists and is not a profile, to which times could be added; choose another file with --out"
        ) from error
    try:
        known.check(source_digest(model), level, known.shapes, mode)
    except InvalidRequest as error:
        raise InvalidRequest(f"'{target}': {error.message}") from error
    return known


def _measure(
    model: Path,
    folder: Path,
    *,
    level: OptimisationLevel,
    mode: CutMode,
    shapes: InputShapes,
    threads: int,
    device: str,
    seconds: float,
) -> tuple[GraphCosts, Profile, str]:
    from onnxmesh.device.device_kind import device_kind_name, parse_device_kind  # noqa: PLC0415
    from onnxmesh.device.gpu import find_gpu  # noqa: PLC0415 - not in the base install
    from onnxmesh.graph.build_jobs import PrepareJob, PrepareOptions  # noqa: PLC0415
    from onnxmesh.graph.build_steps import prepare_here  # noqa: PLC0415
    from onnxmesh.graph.measuring.device_benchmark import cached_device_speed  # noqa: PLC0415

    if device not in {"auto", "cpu", "cuda"}:
        raise InvalidRequest(f"--device: expected auto, cpu or cuda, got '{device}'")
    kind = device_kind_name(threads, find_gpu(device))
    # Beside the result: temporary file systems are small, and models are not.
    with (
        tempfile.TemporaryDirectory(prefix=".profile-", dir=folder) as work,
        progress_bar(f"measuring {model.name}") as report,
    ):
        cached_device_speed(kind, *parse_device_kind(kind), fresh=True)
        options = PrepareOptions(level, mode, shapes, seconds)
        job = PrepareJob(model, Path(work), options, kind, follow_links=True)
        built = prepare_here(job, report)
    if built["unprofiled"]:
        raise InvalidRequest(
            f"the model fails on random inputs, so its nodes cannot be measured: {built['unprofiled']}; give a shape that it "
            "accepts with --shape NAME=1x3x224x224"
        )
    return GraphCosts.from_json(built["costs"]), Profile.from_json(built["profile"]), kind


def _document(
    target: Path, kind: str, costs: GraphCosts, measured: Profile, operators: list[OperatorTimes]
) -> dict[str, Any]:
    times, nodes = measured.devices[kind], len(costs.nodes)
    return {
        "file": str(target),
        "source_digest": measured.source_digest,
        "device": kind,
        "speed": times.speed.to_plain(),
        "optimisation": measured.level.value,
        "mode": measured.mode.value,
        "shapes": {name: list(shape) for name, shape in measured.shapes.items()},
        "total_s": sum(times.node_s),
        "weight_bytes": costs.weight_bytes(0, nodes),
        "peak_bytes": costs.peak_bytes(0, nodes),
        "operators": [operator.to_plain() for operator in operators],
    }


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"


def _listed(profile: Profile) -> str:
    return ", ".join(sorted(profile.devices))

"""`onnxmesh profile`: what each node of a model takes on this machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from onnxmesh.cli.model_files.operator_times import OperatorTimes, operator_times
from onnxmesh.cli.model_files.shapes import parse_shapes
from onnxmesh.cli.terminal.console import output
from onnxmesh.cli.terminal.options import Json
from onnxmesh.cli.terminal.outcome import reported
from onnxmesh.cli.terminal.worker_extra import require_model, worker_extra
from onnxmesh.cli.terminal.written_file import write_whole
from onnxmesh.errors import CorruptData, InvalidRequest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.profile import Profile

if TYPE_CHECKING:
    from onnxmesh.graph.measuring.profiler import Progress as Report
    from onnxmesh.model.input_shapes import InputShapes

_SHOWN = 12
"""Operators in the table; the others share a line."""


def profile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The model's file.")],
    batch: Annotated[
        int, typer.Option(metavar="N", help="First dimension of every input where it is free.")
    ] = 1,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1x3x224x224",
            help="Whole shape of an input; may be repeated. Else free sizes are 1.",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads within an operator.")] = 1,
    device: Annotated[
        str,
        typer.Option(metavar="auto|cpu|cuda", help="What to run on; auto takes a GPU where there is one."),
    ] = "auto",
    optimisation: Annotated[
        OptimisationLevel, typer.Option(help="What ONNX Runtime does to the whole model before the cut.")
    ] = OptimisationLevel.EXTENDED,
    mode: Annotated[
        CutMode,
        typer.Option(
            help="How the model will be cut. Portable takes no --optimisation: partitions are optimised."
        ),
    ] = CutMode.EXACT,
    seconds: Annotated[
        float, typer.Option(min=0.01, help="About how long to run; twice as long at most where runs are few.")
    ] = 3.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the times go; default: MODEL.profile.json.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what each node of a model takes on this machine, for `onnxmesh plan`.

    The graph is run as it will be cut, on random inputs, and the times are kept by kind of device: run it on each
    kind of machine with the same file. Times of this kind that the file has already are replaced.

    **Examples**

        onnxmesh profile resnet50.onnx
        onnxmesh profile bert.onnx --batch 8 --shape input_ids=8x128 --shape attention_mask=8x128
    """
    with reported(), worker_extra():
        require_model(model)
        target = out or model.with_suffix(".profile.json")
        shapes = parse_shapes(batch, shape or [])
        level = OptimisationLevel.NONE if mode is CutMode.PORTABLE else optimisation
        known = _known(target, model, level, mode)
        try:
            costs, measured, kind = _measure(
                model, target.parent, level, mode, shapes, threads, device, seconds
            )
            joined = measured if known is None else known.merged(measured)
            write_whole("--out", target, joined.to_json() + "\n")
        except OSError as error:
            raise InvalidRequest(f"--out: {error}") from error
    times = measured.devices[kind]
    operators = operator_times(costs, times.node_s)
    if as_json:
        typer.echo(json.dumps(_document(target, kind, costs, measured, operators)))
        return
    output().print(profile_table(model.name, kind, costs, operators))
    typer.echo(
        f"{kind}: {times.speed.flops_per_s / 1e9:.1f} GFLOP/s, {times.speed.bytes_per_s / 1e9:.1f} GB/s, "
        f"{times.speed.node_overhead_s * 1e6:.2f} µs a node; times of {_listed(joined)} are in {target}"
    )


def profile_table(
    model: str, kind: str, costs: GraphCosts, operators: list[OperatorTimes], shown: int = _SHOWN
) -> Table:
    """One row for each of the slowest operators, and one for the others together."""
    total_s = sum(operator.seconds for operator in operators)
    nodes = len(costs.nodes)
    weights, peak = costs.weight_bytes(0, nodes), costs.peak_bytes(0, nodes)
    table = Table(
        title=f"{escape(model)} on {kind}: {_milliseconds(total_s)} a run",
        caption=f"memory: {decimal(weights)} of weights, {decimal(peak)} at most while it runs",
    )
    table.add_column("operator", overflow="fold")
    for column in ("nodes", "time", "share", "GFLOP/s", "GB/s"):
        table.add_column(column, justify="right")
    rows = operators if len(operators) <= shown + 1 else operators[:shown]
    if rest := operators[len(rows) :]:
        rows = [*rows, OperatorTimes.together(f"{len(rest)} others", rest)]
    for row in [*rows, OperatorTimes.together("all", operators)]:
        table.add_row(
            escape(row.operator),
            str(row.num_nodes),
            _milliseconds(row.seconds),
            f"{row.seconds / (total_s or 1.0):.1%}",
            f"{row.flops_per_s / 1e9:.1f}",
            f"{row.bytes_per_s / 1e9:.1f}",
            end_section=row is rows[-1],
        )
    return table


def _known(target: Path, model: Path, level: OptimisationLevel, mode: CutMode) -> Profile | None:
    """Returns the profile that is to be added to, refused early where it is of something else."""
    from onnxmesh.graph.reading.source import source_digest  # noqa: PLC0415 - not in the base install

    if not target.exists():
        return None
    try:
        known = Profile.from_json(target.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, CorruptData) as error:
        raise InvalidRequest(f"'{target}' is there and is no profile to add to: {error}") from error
    try:
        known.check(source_digest(model), level, known.shapes, mode)
    except InvalidRequest as error:
        raise InvalidRequest(f"'{target}': {error.message}") from error
    return known


def _measure(
    model: Path,
    folder: Path,
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
    from onnxmesh.graph.build_steps import prepare  # noqa: PLC0415
    from onnxmesh.graph.measuring.device_benchmark import cached_device_speed  # noqa: PLC0415

    if device not in {"auto", "cpu", "cuda"}:
        raise InvalidRequest(f"--device: expected auto, cpu or cuda, got '{device}'")
    kind = device_kind_name(threads, find_gpu(device))
    # Beside the result: temporary file systems are small, and models are not.
    with tempfile.TemporaryDirectory(prefix=".profile-", dir=folder) as work, _progress(model.name) as report:
        cached_device_speed(kind, *parse_device_kind(kind), fresh=True)
        job = PrepareJob(model, Path(work), PrepareOptions(level, mode, shapes, seconds), kind)
        answer = json.loads(prepare(job, report))
    if answer["unprofiled"]:
        raise InvalidRequest(
            f"the model refuses random inputs, so its nodes have no times: {answer['unprofiled']}"
        )
    return GraphCosts.from_json(answer["costs"]), Profile.from_json(answer["profile"]), kind


@contextmanager
def _progress(name: str) -> Iterator[Report]:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"measuring {escape(name)}", total=1.0)
        yield lambda share: progress.update(task, completed=share)


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

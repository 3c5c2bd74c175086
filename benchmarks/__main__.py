"""`make bench`: the mesh against ONNX Runtime in process, in one run; a table and JSON."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import in_process, mesh
from benchmarks.machine import describe_machine, result_file
from benchmarks.models import BenchModel, bench_models

IN_FLIGHT = (1, 8, 32)
LAYOUTS = ((1, 1), (1, 2), (2, 1))
"""Stages and replicas, on two workers."""


def measure(
    seconds: float, num_runs: int, only: list[str], load: Sequence[int], batching: str
) -> list[dict[str, object]]:
    """Measures every model in process and in every layout of the mesh; returns a row for each.

    Args:
        seconds: Length of one run.
        num_runs: Runs of each figure.
        only: Names of models; none: all.
        load: Requests in flight.
        batching: Whether requests may run together: `auto`, `on` or `off`.
    """
    models = [model for model in bench_models() if not only or model.name in only]
    rows: list[dict[str, object]] = []
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task(
            "starting", total=sum(2 + len(_layouts(model)) * len(load) for model in models)
        )
        for model in models:
            path = model.build(Path(folder))
            limits = {}
            for num_threads in (1, 2):
                progress.update(task, description=f"{model.name}: in process, {num_threads} threads")
                limit = in_process.measure(model, path, num_threads, seconds, num_runs)
                limits[num_threads] = limit
                rows.append(
                    {"model": model.name, "where": "in process", "in_flight": num_threads} | asdict(limit)
                )
                progress.advance(task)
            # Several threads of one process share Python's lock: on small models one is faster alone.
            most = max(limit.requests_per_s for limit in limits.values())
            with mesh.running(2) as it:
                for stages, replicas in _layouts(model):
                    name = f"{model.name}-{stages}x{replicas}"
                    it.deploy(path, name, stages, replicas, batching)
                    for in_flight in load:
                        where = f"mesh, {stages} stage{'s' * (stages > 1)} x {replicas}"
                        progress.update(task, description=f"{model.name}: {where}, {in_flight} in flight")
                        measured, cpu = it.measure(model, name, in_flight, seconds, num_runs)
                        rows.append(
                            {"model": model.name, "where": where, "in_flight": in_flight}
                            | asdict(measured)
                            | {
                                "of_limit": measured.requests_per_s
                                / (limits[1].requests_per_s if in_flight == 1 else most)
                            }
                            | cpu
                        )
                        progress.advance(task)
    return rows


def _layouts(model: BenchModel) -> list[tuple[int, int]]:
    # One Identity node cannot be cut.
    return [layout for layout in LAYOUTS if layout[0] == 1 or model.name != "identity"]


def table(rows: list[dict[str, object]]) -> Table:
    """Returns what a person reads."""
    drawn = Table(title="onnxmesh against ONNX Runtime in process")
    for name in ("model", "where"):
        drawn.add_column(name)
    for name in ("in flight", "requests/s", "spread", "p50 ms", "p99 ms", "of limit", "CPU µs/request"):
        drawn.add_column(name, justify="right")
    last = None
    for row in rows:
        if last not in (None, row["model"]):
            drawn.add_section()
        last = row["model"]
        drawn.add_row(
            str(row["model"]),
            str(row["where"]),
            str(row["in_flight"]),
            f"{row['requests_per_s']:,.1f}",
            f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
            f"{row['p50_ms']:.3f}",
            f"{row['p99_ms']:.3f}",
            f"{row['of_limit']:.3f}" if "of_limit" in row else "",
            f"{row['services_us']:,.0f}" if "services_us" in row else "",
        )
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one run")
    parser.add_argument("--runs", type=int, default=3, help="runs of each figure; their median counts")
    parser.add_argument("--only", nargs="*", default=[], help="names of models")
    parser.add_argument("--in-flight", nargs="*", type=int, default=IN_FLIGHT, help="requests in flight")
    parser.add_argument(
        "--batching", choices=("auto", "on", "off"), default="auto", help="whether requests may run together"
    )
    parser.add_argument("--out", type=Path, help="JSON file; default: benchmarks/results/<date>.json")
    parser.add_argument(
        "--quick", action="store_true", help="one short run of each figure: does it work at all?"
    )
    arguments = parser.parse_args()
    seconds, num_runs = (0.5, 1) if arguments.quick else (arguments.seconds, arguments.runs)
    rows = measure(seconds, num_runs, arguments.only, arguments.in_flight, arguments.batching)
    machine = describe_machine()
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table(rows))
    console.print(" · ".join(f"{key} {value}" for key, value in machine.items()), highlight=False)
    out = arguments.out or result_file("cpu")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(
        json.dumps(
            {
                "machine": machine,
                "seconds": seconds,
                "batching": arguments.batching,
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )
    console.print(f"written: {out}", highlight=False)


if __name__ == "__main__":
    main()

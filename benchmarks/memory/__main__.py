"""`make bench-memory`: memory of gateway and each worker under mixed load; a table, JSON and a chart."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from threading import Event
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import mesh
from benchmarks.charts import ChartsMissing
from benchmarks.machine import describe_machine, result_file
from benchmarks.memory.chart import draw
from benchmarks.memory.growth import EARLY_S, WINDOW_S, Growth, Sample, growth_result, growths
from benchmarks.models import IDENTITY, LARGE, WIDE_MODEL, BuiltModel
from benchmarks.outcome import target_document
from benchmarks.report import targets_table
from benchmarks.sigterm import exit_on_sigterm

NUM_WORKERS = 2
SAMPLE_EVERY_S = 1.0


def measure(seconds: float) -> tuple[list[Sample], dict[str, int]]:
    """Runs the load for some seconds; returns samples of each process, and the number of requests of each kind."""
    columns = TextColumn("{task.description:32}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Progress(*columns, console=Console(stderr=True), refresh_per_second=1) as progress,
    ):
        task = progress.add_task("starting a mesh", total=seconds)
        models = [model.built(Path(folder)) for model in (IDENTITY, WIDE_MODEL, LARGE)]
        with mesh.running(NUM_WORKERS) as it:
            for model in models:
                progress.update(task, description=f"deploying {model.name}")
                it.deploy(model.path, model.name, stages=2 if model.name == WIDE_MODEL.name else 1)
            progress.update(task, description="mixed load")
            return _loaded(it, models, seconds, lambda at_s: progress.update(task, completed=at_s))


def _loaded(
    it: mesh.Mesh, models: Sequence[BuiltModel], seconds: float, report: Callable[[float], None]
) -> tuple[list[Sample], dict[str, int]]:
    command = [sys.executable, "-m", "benchmarks.memory.mixed_load", f"--address={it.address}"]
    command += [f"--seconds={seconds}", *(f"{model.name}={model.case}" for model in models)]
    began = monotonic()
    samples = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        try:
            while load.poll() is None:
                Event().wait(SAMPLE_EVERY_S)
                at_s = monotonic() - began
                held = {
                    name: sizes
                    for name, sizes in it.processes.resident_bytes().items()
                    if name != "scheduler"
                }
                if at_s <= seconds:
                    rss = {name: sizes[0] for name, sizes in held.items()}
                    samples.append(Sample(at_s, rss, {name: sizes[1] for name, sizes in held.items()}))
                report(min(at_s, seconds))
        finally:
            load.kill()
        assert load.stdout is not None
        if load.returncode:
            raise SystemExit("the load ended early: its output is above")
        return samples, json.loads(load.stdout.read())


def growth_table(found: Sequence[Growth]) -> Table:
    """Returns the table of processes."""
    table = Table(title="memory in MiB: around 1 minute, and at the end")
    table.add_column("process")
    for name in ("RSS", "at the end", "ratio", "PSS", "at the end", "ratio"):
        table.add_column(name, justify="right")
    for each in found:
        rss = [f"{size / 2**20:,.1f}" for size in (each.early_rss, each.late_rss)]
        pss = [f"{size / 2**20:,.1f}" for size in (each.early_pss, each.late_pss)]
        table.add_row(each.name, *rss, f"{each.rss:.3f}", *pss, f"{each.pss:.3f}")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="minutes of load, at least two")
    parser.add_argument(
        "--out", type=Path, help="JSON file; benchmarks/results/<date>-memory.json unless given"
    )
    arguments = parser.parse_args()
    seconds = arguments.minutes * 60
    if seconds < EARLY_S + 2 * WINDOW_S:
        parser.error(
            f"--minutes: expected at least {(EARLY_S + 2 * WINDOW_S) / 60:.2f}, got {arguments.minutes}"
        )
    exit_on_sigterm()
    samples, counts = measure(seconds)
    found = growths(samples)
    result = growth_result(found)
    machine = describe_machine()
    out = arguments.out or result_file("memory")
    out.parent.mkdir(parents=True, exist_ok=True)
    results = {
        "machine": machine,
        "minutes": arguments.minutes,
        "figures": [target_document(result)],
        "processes": [asdict(each) for each in found],
        "requests": counts,
        "samples": [asdict(sample) for sample in samples],
    }
    out.write_text(json.dumps(results) + "\n")
    console = Console(width=None if Console().is_terminal else 160)
    console.print(growth_table(found))
    console.print(targets_table([result]))
    console.print("requests: " + ", ".join(f"{kind} {number:,}" for kind, number in counts.items()))
    written = [out]
    try:
        written += draw(samples, out.with_suffix(""))
    except ChartsMissing as error:
        console.print(str(error), highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False)


if __name__ == "__main__":
    main()

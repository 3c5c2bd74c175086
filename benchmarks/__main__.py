"""`make bench`: measures the mesh, ONNX Runtime in process and other servers in one run.

Tables, JSON, Markdown and charts; `benchmarks/METHODOLOGY.md` defines each number.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.charts import ChartsMissing, draw
from benchmarks.machine import describe_machine, result_file
from benchmarks.outcome import Outcome
from benchmarks.parts import gpu, hop, identity, mlp, pipeline, resnet50
from benchmarks.progress_display import ProgressDisplay
from benchmarks.report import markdown, rows_table, targets_table
from benchmarks.rivals.environment import OWN_ROOT
from benchmarks.settings import RIVALS, Settings
from benchmarks.sigterm import exit_on_sigterm

PARTS = {
    "identity": identity,
    "mlp": mlp,
    "resnet50": resnet50,
    "pipeline": pipeline,
    "hop": hop,
    "gpu": gpu,
}
READY_MADE = "ONNXMESH_BENCH_RIVALS"


def measure(settings: Settings, only: list[str]) -> Outcome:
    """Measures the parts; returns the outcome."""
    parts = {name: part for name, part in PARTS.items() if not only or name in only}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ProgressDisplay(len(parts)) as display:
        bench = Bench(settings, display, Path(folder))
        for name, part in parts.items():
            with display.part(name, part.num_steps(bench)):
                part.measure(bench)
    return bench.outcome


def main() -> None:
    arguments = _parser().parse_args()
    exit_on_sigterm()
    settings = _settings(arguments)
    outcome = measure(settings, arguments.only)
    machine = describe_machine()
    out = arguments.out or result_file("bench")
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, "settings": settings.document()} | outcome.document()
    out.write_text(json.dumps(document, indent=1) + "\n")
    out.with_suffix(".md").write_text(markdown(outcome.ordered_results(), outcome.rivals, machine))
    console = Console(width=None if Console().is_terminal else 160)
    console.print(rows_table(outcome.rows))
    console.print(targets_table(outcome.ordered_results()))
    for name, state in outcome.rivals.items():
        console.print(f"{name}: {state}", highlight=False)
    console.print(" · ".join(f"{key} {value}" for key, value in machine.items()), highlight=False)
    written = [out, out.with_suffix(".md")]
    try:
        written += draw(document, out.with_suffix(""))
    except ChartsMissing as error:
        console.print(str(error), highlight=False)
    console.print(f"written: {', '.join(map(str, written))}", highlight=False)


def _parser() -> argparse.ArgumentParser:
    defaults = Settings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], choices=list(PARTS), help="parts to measure")
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="length of one run")
    parser.add_argument("--rounds", type=int, default=defaults.num_rounds, help="rounds of each target")
    parser.add_argument(
        "--in-flight",
        nargs="*",
        type=int,
        default=list(defaults.loads),
        help="requests in flight of the curves",
    )
    parser.add_argument(
        "--connections", type=int, default=defaults.connections, help="connections of the client"
    )
    parser.add_argument(
        "--rivals", nargs="*", default=list(RIVALS), choices=RIVALS, help="who is measured too"
    )
    parser.add_argument("--no-install", action="store_true", help="measure only rivals that are installed")
    parser.add_argument(
        "--rivals-from",
        type=Path,
        default=os.environ.get(READY_MADE) or None,
        metavar="DIR",
        help=f"folder of virtual environments that others made, or {READY_MADE}; else build/rivals",
    )
    parser.add_argument(
        "--out", type=Path, help="JSON file; benchmarks/results/<date>-bench.json unless given"
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs, one round, Triton alone and only if it is installed"
    )
    return parser


def _settings(arguments: argparse.Namespace) -> Settings:
    settings = Settings(
        seconds=arguments.seconds,
        num_rounds=arguments.rounds,
        curve_seconds=arguments.seconds / 2,
        loads=tuple(arguments.in_flight),
        connections=arguments.connections,
        rivals=tuple(arguments.rivals),
        root=arguments.rivals_from.absolute() if arguments.rivals_from else OWN_ROOT,
        ready_made=arguments.rivals_from is not None,
        install=not arguments.no_install,
    )
    return settings.quick() if arguments.quick else settings


if __name__ == "__main__":
    main()

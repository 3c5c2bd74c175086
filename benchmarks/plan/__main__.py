"""`make bench-plan`: predictions of the planner against measurements, as tables and JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import describe_machine, result_file
from benchmarks.plan import big_model, planner_speed
from benchmarks.plan.every_cut import measure_every_cut
from benchmarks.plan.predictions import predictions
from benchmarks.plan.report import big_table, cuts_table, predictions_table
from benchmarks.plan.subjects import SUBJECTS, prepared
from onnxmesh.model.plan import Demand

PARTS = ("cuts", "predictions", "big", "speed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=PARTS, choices=PARTS, help="parts to run")
    parser.add_argument("--models", nargs="*", default=SUBJECTS, choices=SUBJECTS)
    parser.add_argument("--seconds", type=float, default=0.6, help="length of one run of a stage")
    parser.add_argument("--quick", action="store_true", help="few cuts, short runs, a model of 256 MB")
    parser.add_argument("--out", type=Path, help="JSON file; default: benchmarks/results/<date>-plan.json")
    arguments = parser.parse_args()
    seconds, step, layers = (0.05, 20, 4) if arguments.quick else (arguments.seconds, 1, big_model.NUM_LAYERS)
    console = Console(width=None if Console().is_terminal else 140)
    results: dict[str, Any] = {"machine": describe_machine(), "seconds": seconds}
    columns = TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        if {"cuts", "predictions"} & set(arguments.only):
            for name in arguments.models:
                _measure_model(name, Path(folder), seconds, step, arguments.only, results, progress)
        if "big" in arguments.only:
            results["big"] = _cut_big_model(Path(folder), layers, progress)
        if "speed" in arguments.only:
            progress.add_task("5,000 nodes on 16 devices", total=None)
            results["speed_s"] = {
                str(replicas): planner_speed.seconds(demand=Demand(replicas=replicas))[0]
                for replicas in (1, None)
            }
    out = arguments.out or result_file("plan")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1, default=asdict) + "\n")
    _print(results, console)
    console.print(f"written: {out}", highlight=False)


def _measure_model(
    name: str,
    folder: Path,
    seconds: float,
    step: int,
    parts: Iterable[str],
    results: dict[str, Any],
    progress: Progress,
) -> None:
    task = progress.add_task(f"{name}: profile", total=None)
    subject = prepared(name, folder)
    if "predictions" in parts:
        progress.update(task, description=f"{name}: stages alone")
        found = [each for num_stages in (2, 3) for each in predictions(subject, num_stages, seconds)]
        results.setdefault("predictions", []).extend(found)
    if "cuts" in parts:
        num_cuts = len(subject.costs.legal_cuts[::step])
        progress.update(task, description=f"{name}: every cut", total=num_cuts)
        every = measure_every_cut(subject, seconds, step, lambda: progress.advance(task))
        results.setdefault("cuts", {})[name] = every
    progress.remove_task(task)


def _cut_big_model(folder: Path, num_layers: int, progress: Progress) -> list[big_model.BigCut]:
    task = progress.add_task("a big model: building", total=1 + len(big_model.OPTIONS))
    model = big_model.build(folder, num_layers)
    progress.advance(task)
    cuts = []
    for what in big_model.OPTIONS:
        progress.update(task, description=f"a big model: {what}")
        cuts.append(big_model.cut(model, folder / "cut", what))
        shutil.rmtree(folder / "cut")
        progress.advance(task)
    progress.remove_task(task)
    return cuts


def _print(results: dict[str, Any], console: Console) -> None:
    for name, every in results.get("cuts", {}).items():
        console.print(cuts_table(name, every))
    if "predictions" in results:
        console.print(predictions_table(results["predictions"]))
    if "big" in results:
        console.print(big_table(results["big"]))
    if "speed_s" in results:
        one, free = (f"{taken:.2f} s" for taken in results["speed_s"].values())
        console.print(
            f"planning 5,000 nodes on 16 devices of 4 kinds: {one}; with replicas to choose: {free}"
        )
    console.print(" · ".join(f"{key} {value}" for key, value in results["machine"].items()), highlight=False)


if __name__ == "__main__":
    main()

"""`make bench-scheduler`: the routing policy in virtual time, and what it costs in real time; tables, JSON and an SVG."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.simulate.choosers import CHOOSERS, Chooser, Mesh, Oracle, RoundRobin
from benchmarks.simulate.costs import Cost, decision_costs, table_costs
from benchmarks.simulate.drawing import draw
from benchmarks.simulate.request_counters import Outcome
from benchmarks.simulate.scenario import SCENARIOS, SLO_S, ZONES, Scenario
from benchmarks.simulate.world import WARM_UP, World

RESULTS = Path(__file__).parent.parent / "results"
QUICK = 10
"""A quick run has so many times fewer requests, or workers."""


def simulate(
    scenarios: list[Scenario],
    seed: int,
    console: Console,
    choosers: tuple[type[Chooser], ...] = CHOOSERS,
) -> dict[str, list[Outcome]]:
    """Runs every scenario under every chooser."""
    outcomes: dict[str, list[Outcome]] = {}
    columns = TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        compared = [
            (scenario, chooser)
            for scenario in scenarios
            for chooser in choosers
            if not scenario.choosers or chooser.name in scenario.choosers
        ]
        total = sum(int(scenario.num_requests * (1 + WARM_UP)) for scenario, _ in compared)
        task = progress.add_task("starting", total=total)
        for scenario, chooser in compared:
            progress.update(task, description=f"{scenario.name}: {chooser.name}")
            world = World(scenario, chooser, seed, lambda num: progress.advance(task, num))
            outcomes.setdefault(scenario.name, []).append(world.run())
    return outcomes


def table_of(scenario: Scenario, outcomes: list[Outcome]) -> Table:
    """Returns the figures of one scenario."""
    title = (
        f"{scenario.name}: {scenario.num_workers} workers, load {scenario.load:.0%}, cv {scenario.cv:g}, "
        f"{scenario.num_gateways} gateways a zone"
    )
    if scenario.num_stages > 1:
        title += f", {scenario.num_stages} stages"
    best_s = next(each.p99_s for each in outcomes if each.chooser == Oracle.name)
    columns: dict[str, Callable[[Outcome], str]] = {
        "p50 ms": lambda each: f"{each.p50_s * 1e3:.1f}",
        "p99 ms": lambda each: f"{each.p99_s * 1e3:.1f}",
        "of the oracle's": lambda each: f"{each.p99_s / best_s:.2f}",
        f"within {SLO_S * 1e3:.0f} ms": lambda each: f"{each.goodput:.2%}",
        "not answered": lambda each: f"{each.failed:.2%} ({each.num_failed:,})",
        "bytes across zones": lambda each: f"{each.cross_zone:.1%}",
    }
    if scenario.skew * scenario.load > 1 / len(ZONES):
        columns["first zone spilled"] = lambda each: f"{each.spilled:.1%}"
        columns["answers, of capacity"] = lambda each: f"{each.throughput:.1%}"
    if scenario.rolling:
        columns["workers drained"] = lambda each: f"{each.num_restarted}"
    table = Table("chosen by", title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for each in outcomes:
        table.add_row(each.chooser, *(text_of(each) for text_of in columns.values()))
    return table


def goals(by_seed: dict[int, list[Outcome]]) -> Table:
    """Returns how the scenario that the goals are stated for compares with them, over all seeds."""
    table = Table("goal", "aim", "mean", "worst", title=f"goals, {len(by_seed)} seeds", title_justify="left")
    found: dict[tuple[str, str, float], list[float]] = {}
    for outcomes in by_seed.values():
        by_name = {each.chooser: each for each in outcomes}
        ours, oracle, robin = (by_name[each.name] for each in (Mesh, Oracle, RoundRobin))
        rows = (
            ("p99 against the oracle's", "at most 1.3", 1.3, ours.p99_s / oracle.p99_s),
            ("p99 against round robin's", "at most 0.5", 0.5, ours.p99_s / robin.p99_s),
            ("bytes across zones", "under 0.1", 0.1, ours.cross_zone),
        )
        for name, aim, limit, figure in rows:
            found.setdefault((name, aim, limit), []).append(figure)
    for (name, aim, limit), figures in found.items():
        cells = [
            f"[{'green' if each <= limit else 'red'}]{each:.3f}[/]" for each in (fmean(figures), max(figures))
        ]
        table.add_row(name, aim, *cells)
    return table


def cost_table(costs: list[Cost]) -> Table:
    """Returns what things cost."""
    table = Table("cost", "aim ms", "found ms", title="costs", title_justify="left")
    for cost in costs:
        colour = "green" if cost.seconds <= cost.goal_s else "red"
        table.add_row(cost.what, f"{cost.goal_s * 1e3:g}", f"[{colour}]{cost.seconds * 1e3:.3f}[/{colour}]")
    return table


def main() -> None:
    """Reads the command line, measures, prints, writes."""
    parser = argparse.ArgumentParser(prog="make bench-scheduler", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} times fewer requests, or workers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seeds", type=int, default=5, help=f"so many for {SCENARIOS[0].name}, from --seed on"
    )
    parser.add_argument("--only", action="append", default=[], help="a scenario; may be repeated")
    parser.add_argument("--no-costs", action="store_true", help="virtual time only")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON and the SVG")
    given = parser.parse_args()
    scenarios = [each for each in SCENARIOS if not given.only or each.name in given.only]
    if not scenarios:
        sys.exit(f"expected one of {', '.join(each.name for each in SCENARIOS)}")
    if given.quick:
        scenarios = [each.quick(QUICK) for each in scenarios]
    console = Console()
    outcomes = simulate(scenarios, given.seed, Console(stderr=True))
    for scenario in scenarios:
        console.print(table_of(scenario, outcomes[scenario.name]))
    by_seed: dict[int, list[Outcome]] = {}
    if SCENARIOS[0].name in outcomes:
        main_name = SCENARIOS[0].name
        by_seed[given.seed] = outcomes[main_name]
        for seed in range(given.seed + 1, given.seed + given.seeds):
            others = simulate(scenarios[:1], seed, Console(stderr=True), (Oracle, Mesh, RoundRobin))
            by_seed[seed] = others[main_name]
        console.print(goals(by_seed))
    costs = [] if given.no_costs else [*decision_costs(), *table_costs()]
    if costs:
        console.print(cost_table(costs))
    given.results.mkdir(parents=True, exist_ok=True)
    document = {
        "seed": given.seed,
        "scenarios": [
            asdict(scenario) | {"outcomes": [asdict(each) for each in outcomes[scenario.name]]}
            for scenario in scenarios
        ],
        "seeds": {seed: [asdict(each) for each in found] for seed, found in by_seed.items()},
        "costs": [asdict(cost) for cost in costs],
    }
    name = f"{dt.datetime.now(dt.UTC):%Y-%m-%d}-scheduler"
    (given.results / f"{name}.json").write_text(
        json.dumps(document, indent=1).replace("Infinity", "null") + "\n"
    )
    draw(outcomes, given.results / f"{name}.svg")
    console.print(f"written to {given.results / name}.json and .svg", markup=False)


if __name__ == "__main__":
    main()

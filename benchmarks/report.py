"""Tables of the results for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.outcome import Row
from benchmarks.targets import TargetResult

_COLOURS = {"goal": "green", "floor": "yellow", "below": "red", "told": "cyan", "missing": "dim"}
_HEADER = ("target", "floor", "goal", "measured", "spread", "medians of both sides", "reached")
_TargetRow = tuple[str, str, str, str, str, str, str]


def target_row(result: TargetResult) -> _TargetRow:
    """Returns the cells of a result, one for each column of the table."""
    target = result.target
    sign = "≤" if target.less_is_better else "≥"
    floor, goal = (
        "" if bound is None else f"{sign} {amount(bound, target.unit)}"
        for bound in (target.floor, target.goal)
    )
    if not result.rounds:
        return target.title, floor, goal, "—", "", result.reason, "missing"
    spread = f"{amount(min(result.rounds))} to {amount(max(result.rounds))}"
    measured = amount(result.value, target.unit)
    return target.title, floor, goal, measured, spread, result.sides, result.verdict


def targets_table(results: Sequence[TargetResult]) -> Table:
    """Returns the table of targets."""
    table = Table(title="targets and results (medians of the rounds)")
    for name in _HEADER:
        table.add_column(name, justify="right" if name in {"floor", "goal", "measured", "spread"} else "left")
    for result in results:
        *words, verdict = target_row(result)
        table.add_row(*words, f"[{_COLOURS[verdict]}]{verdict}[/]")
    return table


def rows_table(rows: Sequence[Row]) -> Table:
    """Returns the table of every server under every load."""
    table = Table(title="closed loop, medians of the runs; CPU in µs per request")
    for name in ("model", "server"):
        table.add_column(name)
    for name in ("in flight", "requests/s", "spread", "p50 ms", "p99 ms", "client", "its share"):
        table.add_column(name, justify="right")
    table.add_column("each process")
    last = None
    for row in rows:
        if last not in (None, row.model):
            table.add_section()
        last = row.model
        measured = row.measured
        table.add_row(
            row.model,
            row.server,
            str(row.in_flight),
            f"{measured.requests_per_s:,.1f}",
            f"{measured.lowest:,.0f} to {measured.highest:,.0f}" if measured.num_runs > 1 else "",
            f"{measured.p50_ms:.3f}",
            f"{measured.p99_ms:.3f}",
            f"{measured.client_us:,.0f}",
            f"{row.client_share:.0%}" if measured.cpu_us else "",
            ", ".join(f"{name} {used:,.0f}" for name, used in measured.cpu_us.items() if used >= 1),
        )
    return table


def markdown(results: Sequence[TargetResult], rivals: dict[str, str], machine: dict[str, Any]) -> str:
    """Returns the table of results as Markdown, with the machine and the rivals."""
    lines = [f"| {' | '.join(_HEADER)} |", "|---|" + "---:|" * 4 + "---|---|"]
    lines += [f"| {' | '.join(map(_cell, target_row(result)))} |" for result in results]
    lines += ["", " · ".join(f"{key} {value}" for key, value in machine.items()), ""]
    if rivals:
        lines += [" · ".join(f"{name} {state}" for name, state in rivals.items()), ""]
    return "\n".join(lines)


def amount(value: float, unit: str = "") -> str:
    """Returns a number with three or more digits, and its unit."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

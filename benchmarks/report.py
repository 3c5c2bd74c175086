"""What a person reads: tables for the terminal, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.outcome import Row

_COLOURS = {"goal": "green", "floor": "yellow", "below": "red", "told": "cyan", "missing": "dim"}
_HEADER = ("figure", "floor", "goal", "measured", "spread", "made of", "reached")
_FigureRow = tuple[str, str, str, str, str, str, str]


def figure_row(figure: Figure) -> _FigureRow:
    """Returns the words of a figure, one for each column of the table."""
    target = figure.target
    sign = "≤" if target.less_is_better else "≥"
    floor, goal = (
        "" if bound is None else f"{sign} {amount(bound, target.unit)}"
        for bound in (target.floor, target.goal)
    )
    if not figure.rounds:
        return target.title, floor, goal, "—", "", figure.reason, "missing"
    spread = f"{amount(min(figure.rounds))} to {amount(max(figure.rounds))}"
    measured = amount(figure.value, target.unit)
    return target.title, floor, goal, measured, spread, figure.sides, figure.verdict


def figures_table(figures: Sequence[Figure]) -> Table:
    """Returns the table of what is asked for."""
    drawn = Table(title="what is asked, and what was measured (medians of the rounds)")
    for name in _HEADER:
        drawn.add_column(name, justify="right" if name in {"floor", "goal", "measured", "spread"} else "left")
    for figure in figures:
        *words, verdict = figure_row(figure)
        drawn.add_row(*words, f"[{_COLOURS[verdict]}]{verdict}[/]")
    return drawn


def rows_table(rows: Sequence[Row]) -> Table:
    """Returns the table of every server under every load."""
    drawn = Table(title="closed loop, medians of the runs; CPU in µs per request")
    for name in ("model", "server"):
        drawn.add_column(name)
    for name in ("in flight", "requests/s", "spread", "p50 ms", "p99 ms", "client", "its share"):
        drawn.add_column(name, justify="right")
    drawn.add_column("each process")
    last = None
    for row in rows:
        if last not in (None, row.model):
            drawn.add_section()
        last = row.model
        measured = row.measured
        drawn.add_row(
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
    return drawn


def markdown(figures: Sequence[Figure], rivals: dict[str, str], machine: dict[str, Any]) -> str:
    """Returns the table of figures as Markdown, with what it ran on and against whom."""
    lines = [f"| {' | '.join(_HEADER)} |", "|---|" + "---:|" * 4 + "---|---|"]
    lines += [f"| {' | '.join(map(_cell, figure_row(figure)))} |" for figure in figures]
    lines += ["", " · ".join(f"{key} {value}" for key, value in machine.items()), ""]
    if rivals:
        lines += [" · ".join(f"{name} {state}" for name, state in rivals.items()), ""]
    return "\n".join(lines)


def amount(value: float, unit: str = "") -> str:
    """Returns a figure with three digits or more, and its unit."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

"""Charts of `make bench` as PNG and SVG: latency against load, and every target with its floor and goal.

`python -m benchmarks.charts RESULTS.json` draws the charts of a file of results again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import amount
from benchmarks.targets import of_goal, target_of
from onnxmesh.pictures.colours import BOTTLENECK, INK, KINDS, LINES

_VERDICTS = {"goal": "#2a9d8f", "floor": "#f2a541", "below": BOTTLENECK, "told": KINDS[0]}
_LATENCIES = (("p50_ms", "p50"), ("p99_ms", "p99"))
_MOST_OF_GOAL = 3.0


class ChartsMissing(Exception):
    """Charts cannot be drawn here; the message has the reason."""


def draw(results: Mapping[str, Any], stem: Path) -> list[Path]:
    """Draws the charts of a run.

    Args:
        results: The document of the results.
        stem: Begins the names of the files.

    Returns:
        The files.

    Raises:
        ChartsMissing: matplotlib is not installed.
    """
    prepare()
    files: list[Path] = []
    curves = curves_of(results["rows"])
    if curves:
        files += saved(_latency_chart(curves), stem.with_name(f"{stem.name}-latency"))
    figures = [figure for figure in results["figures"] if figure["value"] is not None]
    if figures:
        files += saved(_targets_chart(figures), stem.with_name(f"{stem.name}-figures"))
    return files


def prepare() -> None:
    """Sets matplotlib up to draw into files, in the colours of this project.

    Raises:
        ChartsMissing: It is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - nothing else needs it
    except ImportError as error:
        raise ChartsMissing("no charts: matplotlib is not installed (`make setup`)") from error
    mpl.use("agg")
    mpl.rcParams |= {"svg.hashsalt": "onnxmesh", "font.size": 9, "text.color": INK, "axes.edgecolor": LINES}


def saved(chart: Any, stem: Path) -> list[Path]:
    """Writes a chart of matplotlib as PNG and as SVG; returns the files."""
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    for file in files:
        # Without a date, the same results give the same file.
        chart.savefig(file, dpi=130, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files


def curves_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Returns the points of each server's line, by model and server, by load."""
    curves: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in sorted((row for row in rows if row["curve"]), key=lambda row: row["in_flight"]):
        curves.setdefault(row["model"], {}).setdefault(row["server"], []).append(row)
    return curves


def _latency_chart(curves: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see `prepare`
    from matplotlib.ticker import NullFormatter  # noqa: PLC0415

    chart = Figure(figsize=(11, 4.2 * len(curves)), layout="constrained")
    panels = chart.subplots(len(curves), len(_LATENCIES), squeeze=False)
    for row, (model, lines) in zip(panels, sorted(curves.items()), strict=True):
        for panel, (latency, title) in zip(row, _LATENCIES, strict=True):
            for place, (server, points) in enumerate(sorted(lines.items())):
                panel.plot(
                    [point["measured"]["requests_per_s"] for point in points],
                    [point["measured"][latency] for point in points],
                    marker="o",
                    markersize=3.5,
                    color=KINDS[place % len(KINDS)],
                    linewidth=2.4 if server.startswith("onnxmesh") else 1.2,
                    label=server,
                )
            panel.set(xscale="log", yscale="log", xlabel="requests/s", ylabel=f"{title}, ms")
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.set_title(f"{model}: {title} against throughput", fontsize=10)
            panel.grid(color=LINES, linewidth=0.5, which="both", alpha=0.5)
        row[-1].legend(fontsize=8)
    loads = sorted(
        {point["in_flight"] for lines in curves.values() for line in lines.values() for point in line}
    )
    chart.suptitle(
        f"closed loop, {', '.join(map(str, loads))} in flight; right and low is better", fontsize=9
    )
    return chart


def _targets_chart(figures: Sequence[Mapping[str, Any]]) -> Any:
    from matplotlib.figure import Figure  # noqa: PLC0415 - see `prepare`

    chart = Figure(figsize=(11, 1.4 + 0.42 * len(figures)), layout="constrained")
    panel = chart.subplots()
    places = range(len(figures), 0, -1)
    for place, figure in zip(places, figures, strict=True):
        shown = min(figure["of_goal"], _MOST_OF_GOAL)
        target = target_of(figure["key"])
        panel.barh(place, shown, height=0.6, color=_VERDICTS[figure["verdict"]])
        floor = 0.0
        if target.floor is not None:
            floor = of_goal(target, target.floor)
            panel.plot([floor, floor], [place - 0.4, place + 0.4], color=INK, linewidth=1.5)
        panel.text(max(shown, floor) + 0.03, place, amount(figure["value"], figure["unit"]), va="center")
    panel.axvline(1.0, color=INK, linewidth=1, linestyle="--")
    panel.set_yticks(list(places), [figure["title"] for figure in figures])
    panel.set(xlim=(0, _MOST_OF_GOAL * 1.1), xlabel="of the goal (dashed; stroke: the floor); more is better")
    panel.spines[["top", "right"]].set_visible(False)
    return chart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="JSON that `make bench` wrote")
    arguments = parser.parse_args()
    for file in draw(json.loads(arguments.results.read_text()), arguments.results.with_suffix("")):
        print(f"written: {file}")


if __name__ == "__main__":
    main()

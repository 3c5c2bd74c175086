"""What a simulation came to, as an SVG: a row for each scenario, a panel for each figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import drawsvg

from benchmarks.simulate.request_counters import Outcome

_PANELS: tuple[tuple[str, Callable[[Outcome], float], Callable[[float], str]], ...] = (
    ("p50", lambda outcome: outcome.p50_s, lambda value: f"{value * 1e3:.0f} ms"),
    ("p99", lambda outcome: outcome.p99_s, lambda value: f"{value * 1e3:.0f} ms"),
    ("good answers", lambda outcome: outcome.goodput, lambda value: f"{value:.1%}"),
    ("bytes across zones", lambda outcome: outcome.cross_zone, lambda value: f"{value:.1%}"),
)
_COLOURS = ("#64748b", "#2563eb", "#10b981", "#f59e0b", "#ec4899", "#ef4444")
_LEFT, _WIDTH, _BAR, _HEAD = 110, 190, 16, 46


def draw(outcomes: Mapping[str, Sequence[Outcome]], path: Path) -> None:
    """Writes the drawing."""
    heights = [_HEAD + _BAR * len(row) + 14 for row in outcomes.values()]
    width = _LEFT + len(_PANELS) * _WIDTH
    drawing = drawsvg.Drawing(width, sum(heights) + 10, font_family="sans-serif")
    drawing.append(drawsvg.Rectangle(0, 0, width, sum(heights) + 10, fill="white"))
    top = 0
    for (scenario, row), height in zip(outcomes.items(), heights, strict=True):
        drawing.append(drawsvg.Text(scenario, 13, 8, top + 18, font_weight="bold"))
        for index, outcome in enumerate(row):
            y = top + _HEAD + index * _BAR
            drawing.append(drawsvg.Text(outcome.chooser, 11, _LEFT - 8, y + 11, text_anchor="end"))
        for column, (title, value_of, text_of) in enumerate(_PANELS):
            left = _LEFT + column * _WIDTH
            drawing.append(drawsvg.Text(title, 11, left, top + _HEAD - 8, fill="#475569"))
            # On a scale that includes outliers the others could not be distinguished.
            shown = sorted(value_of(outcome) for outcome in row)
            limit = min(max(shown), 4 * shown[len(shown) // 2]) or 1.0
            for index, outcome in enumerate(row):
                value = value_of(outcome)
                y = top + _HEAD + index * _BAR
                length = (_WIDTH - 70) * min(1.0, value / limit)
                drawing.append(
                    drawsvg.Rectangle(
                        left, y + 2, max(1.0, length), _BAR - 4, fill=_COLOURS[index % len(_COLOURS)]
                    )
                )
                beyond = " →" if value > limit else ""
                drawing.append(drawsvg.Text(text_of(value) + beyond, 10, left + length + 4, y + 11))
        top += height
    drawing.save_svg(str(path))

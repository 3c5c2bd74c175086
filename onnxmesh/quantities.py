"""Times and sizes as people read them: three figures and a unit."""

from __future__ import annotations

TIMES = "\u00d7"
"""The sign between a number and what there is that often."""

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def time_text(seconds: float) -> str:
    """Returns a time: `1.25 s`, `16.5 ms`, `340 µs`."""
    if seconds <= 0:
        return "0 s"
    for size, unit in _TIMES:
        # From what would be shown: 999.9 µs are 1 ms, not 1000 µs.
        if seconds >= 0.9995 * size:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-12)} ps"


def bytes_text(num_bytes: float) -> str:
    """Returns a size in decimal units: `0 B`, `524 kB`, `9.10 GB`."""
    for size, unit in _SIZES:
        if num_bytes >= 0.9995 * size:
            return f"{_three(num_bytes / size)} {unit}"
    return f"{num_bytes:.0f} B"


def ratio_text(ratio: float) -> str:
    """Returns how many times one figure is another, with the sign for times."""
    return f"{_three(ratio)} {TIMES}"


def rate_text(per_second: float, noun: str = "") -> str:
    """Returns a rate: `60.7/s`, `0.052/s`; with a noun `4,210 requests/s`."""
    return f"{_three(per_second)} {noun}/s" if noun else f"{_three(per_second)}/s"


def count_text(count: int, noun: str) -> str:
    """Returns a number with its noun: `1 replica`, `4,210 requests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _three(figure: float) -> str:
    """Three significant figures, all digits before the point."""
    if figure >= 99.95:
        return f"{figure:,.0f}"
    if figure >= 9.995:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if figure >= 0.9995 else f"{figure:.3g}"

"""Texts of times, sizes, rates and ratios for people: three significant digits and a unit. Pure."""

from __future__ import annotations

TIMES = "\u00d7"
"""The multiplication sign, for counts and factors."""

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SIZES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def time_text(seconds: float) -> str:
    """Returns a duration: `1.25 s`, `16.5 ms`, `340 µs`."""
    if seconds <= 0:
        return "0 s"
    for size, unit in _TIMES:
        # The threshold is where rounding gives 1.00 of the unit: 999.9 µs are 1 ms, not 1000 µs.
        if seconds >= 0.9995 * size:
            return f"{_three(seconds / size)} {unit}"
    return f"{_three(seconds / 1e-12)} ps"


def bytes_text(num_bytes: float) -> str:
    """Returns a size in decimal units: `0 B`, `524 kB`, `9.10 GB`."""
    for size, unit in _SIZES:
        if num_bytes >= 0.9995 * size:
            return f"{_three(num_bytes / size)} {unit}"
    return f"{num_bytes:.0f} B"


def rate_text(per_second: float, noun: str = "requests") -> str:
    """Returns a rate: `60.7 requests/s`, `4,210 requests/s`, `0.052 answers/s`."""
    return f"{_three(per_second)} {noun}/s"


def speed_text(ratio: float) -> str:
    """Returns a ratio of two speeds as a comparison.

    For example `1.25 x faster than`, `24.1 x slower than`, `as fast as`, with the sign for times; of a ratio of 0 there is
    no factor: `slower than`.
    """
    if ratio <= 0.0:
        return "slower than"
    if 1 / 1.005 < ratio < 1.005:
        return "as fast as"
    factor, word = (ratio, "faster") if ratio > 1.0 else (1.0 / ratio, "slower")
    return f"{_three(factor)} {TIMES} {word} than"


def count_text(count: int, noun: str) -> str:
    """Returns a number with its noun: `1 replica`, `4,210 requests`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _three(figure: float) -> str:
    """Returns at least three significant digits, all those before the point, with commas between thousands."""
    if figure >= 99.95:
        return f"{figure:,.0f}"
    if figure >= 9.995:
        return f"{figure:.1f}"
    return f"{figure:.2f}" if figure >= 0.9995 else f"{figure:.3g}"

"""Colours of a plan's picture, distinguishable with colour blindness, and by their labels in grey."""

from __future__ import annotations

PAPER = "#fdfdfb"
INK = "#24292f"
FAINT_INK = "#626b75"
LINES = "#c9ced4"
BOTTLENECK = "#c62828"
LIVE = "#8794a8"
CUT = "#24292f"

KINDS = ("#3b6fb6", "#2a9d8f", "#8e5ea2", "#c7782b", "#5a7d2a", "#b5476b", "#0f7fa3", "#6b5b4a")
"""Colours of kinds by their position in the cluster; they repeat after eight."""

OPERATORS = ("#f2a541", "#6aa6d8", "#df6f5c", "#7bbf8e", "#b497d6", "#d9c94a", "#5fc3c3")
"""Colours of operators, the largest share of time first."""

OTHER_OPERATORS = "#c3c6cb"


def kind_colour(position: int) -> str:
    """Returns the colour of the kind at a position in its cluster."""
    return KINDS[position % len(KINDS)]

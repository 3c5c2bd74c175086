"""What one run of `make bench` came to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.figures import TARGETS, Figure
from benchmarks.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Row:
    """One server under one load.

    Attributes:
        model: Name of the model.
        server: Who answered.
        in_flight: Requests at once.
        measured: Medians over the runs.
        curve: Whether it is a point of latency against load, rather than one side of a figure.
    """

    model: str
    server: str
    in_flight: int
    measured: Measurement
    curve: bool = False

    @property
    def server_us(self) -> float:
        """CPU that a request cost all processes of the server, in µs."""
        return sum(self.measured.cpu_us.values())

    @property
    def client_share(self) -> float:
        """Share of the client in the CPU that a request cost; 1 where there is no server."""
        return self.measured.client_us / (self.measured.client_us + self.server_us or math.nan)


@dataclass(slots=True)
class Outcome:
    """Figures and what they were made of, in the order in which they came. Mutable: the parts of a run add to it.

    Attributes:
        figures: What is asked for.
        rows: Every server under every load.
        rivals: Of each rival its version, or why it is missing.
    """

    figures: list[Figure] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    rivals: dict[str, str] = field(default_factory=dict)

    def ordered_figures(self) -> list[Figure]:
        """Returns the figures in the order of the targets."""
        return sorted(self.figures, key=lambda figure: TARGETS.index(figure.target))

    def document(self) -> dict[str, Any]:
        """Returns everything as JSON has it."""
        return {
            "figures": [figure_document(figure) for figure in self.ordered_figures()],
            "rivals": dict(self.rivals),
            "rows": [_finite(asdict(row) | {"client_share": row.client_share}) for row in self.rows],
        }


def figure_document(figure: Figure) -> dict[str, Any]:
    """Returns a figure as JSON has it: what cannot be had is null."""
    found: dict[str, Any] = _finite(
        asdict(figure.target)
        | {
            "value": figure.value,
            "lowest": min(figure.rounds, default=None),
            "highest": max(figure.rounds, default=None),
            "rounds": list(figure.rounds),
            "verdict": figure.verdict,
            "of_goal": figure.of_goal,
            "sides": figure.sides,
            "reason": figure.reason,
        }
    )
    return found


def _finite(value: Any) -> Any:
    """Returns a document with null for every nan, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value

"""The outcome of one run of `make bench`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.measurement import Measurement
from benchmarks.targets import TARGETS, TargetResult


@dataclass(frozen=True, slots=True)
class Row:
    """One server under one load.

    Attributes:
        model: Name of the model.
        server: Who answered.
        in_flight: Requests at once.
        measured: Medians over the runs.
        curve: Whether it is a point of latency against load, rather than one side of a result.
    """

    model: str
    server: str
    in_flight: int
    measured: Measurement
    curve: bool = False

    @property
    def server_us(self) -> float:
        """CPU time of a request in all processes of the server, in µs."""
        return sum(self.measured.cpu_us.values())

    @property
    def client_share(self) -> float:
        """Share of the client in the CPU time of a request; 1 without a server."""
        return self.measured.client_us / (self.measured.client_us + self.server_us or math.nan)


@dataclass(slots=True)
class Outcome:
    """Figures and what they were made of, in the order in which they came. Mutable: the parts of a run add to it.

    Attributes:
        results: The results for the targets.
        rows: Every server under every load.
        rivals: Of each rival its version, or why it is missing.
    """

    results: list[TargetResult] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    rivals: dict[str, str] = field(default_factory=dict)

    def ordered_results(self) -> list[TargetResult]:
        """Returns the results in the order of the targets."""
        return sorted(self.results, key=lambda result: TARGETS.index(result.target))

    def document(self) -> dict[str, Any]:
        """Returns everything as plain values for JSON."""
        return {
            "figures": [target_document(result) for result in self.ordered_results()],
            "rivals": dict(self.rivals),
            "rows": [_finite(asdict(row) | {"client_share": row.client_share}) for row in self.rows],
        }


def target_document(result: TargetResult) -> dict[str, Any]:
    """Returns a result as plain values for JSON; a missing value is null."""
    found: dict[str, Any] = _finite(
        asdict(result.target)
        | {
            "value": result.value,
            "lowest": min(result.rounds, default=None),
            "highest": max(result.rounds, default=None),
            "rounds": list(result.rounds),
            "verdict": result.verdict,
            "of_goal": result.of_goal,
            "sides": result.sides,
            "reason": result.reason,
        }
    )
    return found


def _finite(value: Any) -> Any:
    """Returns a document with null for every nan, which JSON lacks."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value

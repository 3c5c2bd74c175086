"""What one run of closed-loop requests showed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """Median over runs, with the spread of the throughput.

    Attributes:
        requests_per_s: Median over the runs.
        lowest, highest: Slowest and fastest run, in requests/s.
        p50_ms, p99_ms: Medians over the runs of each run's percentile.
        num_runs: Runs counted.
    """

    requests_per_s: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    num_runs: int

    @classmethod
    def of(cls, runs: Sequence[Sequence[float]], seconds: float) -> Measurement:
        """Returns the summary of `runs`, each the latencies in seconds of what ended within `seconds`."""
        rates = [len(latencies) / seconds for latencies in runs]
        return cls(
            requests_per_s=statistics.median(rates),
            lowest=min(rates),
            highest=max(rates),
            p50_ms=statistics.median(percentile(latencies, 0.50) for latencies in runs) * 1e3,
            p99_ms=statistics.median(percentile(latencies, 0.99) for latencies in runs) * 1e3,
            num_runs=len(runs),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that `share` of `values` do not exceed; nan for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

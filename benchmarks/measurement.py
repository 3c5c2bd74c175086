"""Measurements of runs of a closed loop."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a client against one server.

    Attributes:
        requests_per_s: Responses within the run, divided by its length.
        p50_ms, p99_ms: Of the latency that the client saw; nan without a response.
        client_us: CPU time of a request in the client, in µs.
        cpu_us: CPU time of a request in each process of the server, by name, in µs; empty if not measured.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    client_us: float
    cpu_us: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Medians over runs, with the spread of the throughput.

    Attributes:
        requests_per_s: Median over the runs.
        lowest, highest: Slowest and fastest run, in requests/s.
        p50_ms, p99_ms: Medians of the runs' percentiles.
        client_us, cpu_us: Medians of the CPU time of a request.
        num_runs: Runs counted.
    """

    requests_per_s: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    client_us: float
    cpu_us: dict[str, float]
    num_runs: int

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Measurement:
        """Returns the summary of one or more runs."""
        rates = [run.requests_per_s for run in runs]
        names = list(dict.fromkeys(name for run in runs for name in run.cpu_us))
        return cls(
            requests_per_s=statistics.median(rates),
            lowest=min(rates),
            highest=max(rates),
            p50_ms=statistics.median(run.p50_ms for run in runs),
            p99_ms=statistics.median(run.p99_ms for run in runs),
            client_us=statistics.median(run.client_us for run in runs),
            cpu_us={name: statistics.median(run.cpu_us.get(name, 0.0) for run in runs) for name in names},
            num_runs=len(runs),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that `share` of `values` do not exceed; nan for none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

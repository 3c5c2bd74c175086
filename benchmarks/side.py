"""One side of a comparison: a server and its client, or ONNX Runtime in process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.driver import Driver
from benchmarks.measurement import Run
from benchmarks.processes import Processes


@dataclass(frozen=True, slots=True)
class Side:
    """One side, which can be run repeatedly.

    Attributes:
        name: Name of the server in tables and charts.
        driver: Its client.
        processes: The processes of the server; None in process.
        in_flight: Fixed number of requests in flight, such as the threads in process; 0: that of the comparison.
    """

    name: str
    driver: Driver
    processes: Processes | None = None
    in_flight: int = 0

    def run(self, in_flight: int, seconds: float, warm_up_s: float = 0.3) -> Run:
        """Runs once, and measures the CPU time of each process."""
        before = self.processes.cpu_s() if self.processes else {}
        seen = self.driver.run(self.in_flight or in_flight, seconds, warm_up_s)
        after = self.processes.cpu_s() if self.processes else {}
        num_requests = max(1, seen["num_requests"])
        return Run(
            requests_per_s=seen["requests_per_s"],
            p50_ms=seen["p50_ms"],
            p99_ms=seen["p99_ms"],
            client_us=seen["client_cpu_s"] / num_requests * 1e6,
            cpu_us={name: (after[name] - used) / num_requests * 1e6 for name, used in before.items()},
        )


def in_turns(
    sides: Sequence[Side],
    in_flight: int,
    seconds: float,
    num_rounds: int,
    report: Callable[[str], None] = lambda what: None,
) -> list[list[Run]]:
    """Runs every side once in each round, so that a varying speed of the machine affects all sides alike.

    Args:
        sides: The sides to compare; each round begins with another one.
        in_flight: Requests, for sides that do not fix it.
        seconds: Length of one run.
        num_rounds: Number of rounds.
        report: Called with a text before each run.

    Returns:
        The runs of each side, in the order of the sides; equal positions belong to one round.
    """
    runs: list[list[Run]] = [[] for _ in sides]
    for number in range(num_rounds):
        for place in range(len(sides)):
            side = (place + number) % len(sides)
            report(f"{sides[side].name}, {sides[side].in_flight or in_flight} in flight")
            runs[side].append(sides[side].run(in_flight, seconds))
    return runs
